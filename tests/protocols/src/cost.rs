//! What the log says that models used, against what the server said.
use crate::server::Usage;
use crate::session::Session;
use qila_agents::qila::{Finished, run_id};
use serde_json::Value;

/// Models, and US dollars for a million tokens, which is millionths of a dollar for one: of the prompt, of what of it came from the
/// provider's cache, of the answer.
const PRICES: [(&str, [u64; 3]); 2] = [("gpt-4o", [4, 2, 9]), ("claude-sonnet-4-5", [5, 1, 16])];

/// A file of these prices.
pub fn prices() -> String {
    let each = PRICES.map(|(name, [input, cached, output])| {
        format!(
            "  - {{names: ['{name}'], input: {input}, cached_input: {cached}, output: {output}, context: 200000, max_output: 8192}}\n"
        )
    });
    format!("version: 1\nmodels:\n{}", each.concat())
}

/// What a call costs, in millionths of a dollar.
fn micros(call: &Usage) -> u64 {
    let (_, [input, cached, output]) = PRICES.iter().find(|(name, _)| *name == call.model).unwrap();
    (call.input - call.cached) * input + call.cached * cached + call.output * output
}

/// Every call of a model in a log.
fn models(value: &Value, out: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| models(v, out)),
        Value::Object(fields) => {
            if ["kind", "event"]
                .iter()
                .any(|k| fields.get(*k).is_some_and(|v| v == "model_call"))
            {
                out.push(value.clone());
            } else {
                fields.values().for_each(|v| models(v, out));
            }
        }
        _ => {}
    }
}

/// The sums of the log are those of the server.
pub fn agrees(session: &Session, done: &Finished) -> Result<(), String> {
    let said = session.server.usage();
    if said.is_empty() {
        return Err("no model was called".into());
    }
    let log = session.qila.call(&["log", &run_id(done), "--json"]);
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(&log.stdout)
        .into_iter::<Value>()
        .flatten()
    {
        models(&value, &mut found);
    }
    let sum = |name: &str| found.iter().filter_map(|m| m[name].as_u64()).sum::<u64>();
    let logged = (
        found.len(),
        sum("input"),
        sum("cached"),
        sum("output"),
        sum("micros"),
    );
    let total = |of: fn(&Usage) -> u64| said.iter().map(of).sum::<u64>();
    let told = (
        said.len(),
        total(|u| u.input),
        total(|u| u.cached),
        total(|u| u.output),
        total(micros),
    );
    if logged != told {
        return Err(format!(
            "calls, input, cached, output, millionths of a dollar: the log has {logged:?}, the server said {told:?}"
        ));
    }
    if found.iter().any(|m| m["micros"].as_u64().unwrap_or(0) == 0) {
        return Err("a call without a price".into());
    }
    Ok(())
}
