//! OpenAI's chat completions.
use super::Turn;
use serde_json::{Value, json};

pub fn tool_results(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    messages
        .iter()
        .filter(|m| m["role"] == "tool")
        .map(|m| super::anthropic::text(&m["content"]))
        .collect()
}

fn calls(done: usize, turn: &Turn) -> (Option<Value>, &'static str) {
    match turn {
        Turn::Say(_) => (None, "stop"),
        Turn::Call { tool, args } => {
            let function = json!({ "name": tool, "arguments": args.to_string() });
            let call = json!([{ "index": 0, "id": format!("call_{done}"), "type": "function", "function": function }]);
            (Some(call), "tool_calls")
        }
    }
}

fn words(say: &str, turn: &Turn) -> String {
    match turn {
        Turn::Say(text) => format!("{text} {say}"),
        Turn::Call { .. } => say.to_owned(),
    }
}

fn usage() -> Value {
    json!({ "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 })
}

/// A whole answer.
pub fn whole(model: &str, done: usize, say: &str, turn: &Turn) -> Value {
    let (calls, finish) = calls(done, turn);
    let mut message = json!({ "role": "assistant", "content": words(say, turn) });
    if let Some(calls) = calls {
        message["tool_calls"] = calls;
    }
    json!({
        "id": format!("chatcmpl-{done}"), "object": "chat.completion", "created": 1_700_000_000, "model": model,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }], "usage": usage(),
    })
}

/// The same answer as events.
pub fn events(model: &str, done: usize, say: &str, turn: &Turn) -> Vec<String> {
    let (calls, finish) = calls(done, turn);
    let event = |delta: Value, finish: Option<&str>, usage: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        let data = json!({
            "id": format!("chatcmpl-{done}"), "object": "chat.completion.chunk", "created": 1_700_000_000,
            "model": model, "choices": [choice], "usage": usage,
        });
        format!("data: {data}\n\n")
    };
    let mut out = vec![event(
        json!({ "role": "assistant", "content": words(say, turn) }),
        None,
        Value::Null,
    )];
    if let Some(calls) = calls {
        out.push(event(json!({ "tool_calls": calls }), None, Value::Null));
    }
    out.push(event(json!({}), Some(finish), usage()));
    out.push("data: [DONE]\n\n".into());
    out
}
