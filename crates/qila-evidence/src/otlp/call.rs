//! One call of a model as a span.
use super::{CLIENT, ERROR, attributes, happened};
use qila_types::ModelCall;
use serde_json::{Map, Value, json};

/// Providers that are known by their hosts, as suffixes, in the conventions' words.
const PROVIDERS: [(&str, &str); 13] = [
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.com", "cohere"),
];

/// A call, read from its record. The step is read field by field: one that was shortened to fit its record has texts in
/// the place of what was long.
pub(super) struct Call<'a> {
    call: &'a ModelCall,
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

impl<'a> Call<'a> {
    pub(super) fn read(call: &'a ModelCall, recorded_ms: u64) -> Call<'a> {
        let from_ms = at(&call.step, &["at_ms"]).as_u64().unwrap_or(recorded_ms);
        let latency = at(&call.step, &["latency_ms"]).as_u64().unwrap_or(0);
        Call {
            call,
            from_ms,
            to_ms: from_ms.saturating_add(latency),
        }
    }

    /// Whose API it is: by the host, else by what is spoken there.
    pub(super) fn provider(&self) -> &'static str {
        let host = self.call.host.trim_end_matches('.');
        let of = |known: &str| {
            let before = host.strip_suffix(known);
            before.is_some_and(|before| before.is_empty() || before.ends_with(['.', '-']))
        };
        let known = PROVIDERS.iter().find(|(known, _)| of(known));
        match (known, at(&self.call.step, &["api"]).as_str()) {
            (Some((_, name)), _) => name,
            (None, Some("anthropic_messages")) => "anthropic",
            (None, Some("gemini")) => "gcp.gemini",
            _ => "openai",
        }
    }

    fn operation(&self) -> &'static str {
        match at(&self.call.step, &["api"]).as_str() {
            Some("openai_embeddings") => "embeddings",
            Some("gemini") => "generate_content",
            _ => "chat",
        }
    }

    /// The provider's word for the error, else the status; none where it went well.
    fn error(&self) -> Option<String> {
        let status = at(&self.call.step, &["status"]).as_u64().unwrap_or(0);
        match (at(&self.call.step, &["error"]).as_str(), status) {
            (Some(word), _) if !word.is_empty() => Some(word.to_owned()),
            (_, 0) => Some("no_response".to_owned()),
            (_, 400..) => Some(status.to_string()),
            (Some(_), _) => Some("_OTHER".to_owned()),
            (None, _) => None,
        }
    }

    /// What of a span is its own.
    pub(super) fn fields(&self, record: u64) -> Map<String, Value> {
        let (call, step) = (self.call, &self.call.step);
        let counted = |n: u64| (n > 0).then_some(n);
        let usage = |name: &str| at(step, &["usage", name]).as_u64().unwrap_or(0);
        let told = |name: &str| at(step, &[name]).as_u64().and_then(counted);
        let written = usage("cache_write").saturating_add(usage("cache_write_long"));
        let reasons: Vec<&str> = self
            .choices()
            .filter_map(|c| at(c, &["finish_reason"]).as_str())
            .collect();
        let first = at(step, &["first_token_ms"])
            .as_u64()
            .filter(|_| at(step, &["stream"]) == true);
        let said: Vec<Value> = self.choices().filter_map(message).collect();
        let error = self.error();
        let own = json!({
            "gen_ai.operation.name": self.operation(),
            "gen_ai.provider.name": self.provider(),
            "gen_ai.request.model": call.model,
            "gen_ai.request.max_tokens": at(step, &["max_output"]),
            "gen_ai.request.stream": (at(step, &["stream"]) == true).then_some(true),
            "gen_ai.response.id": at(step, &["response_id"]),
            "gen_ai.response.model": at(step, &["response_model"]),
            "gen_ai.response.finish_reasons": (!reasons.is_empty()).then_some(reasons),
            "gen_ai.response.time_to_first_chunk": first.map(seconds),
            "gen_ai.usage.input_tokens": call.input,
            "gen_ai.usage.output_tokens": call.output,
            "gen_ai.usage.cache_read.input_tokens": counted(call.cached),
            "gen_ai.usage.cache_creation.input_tokens": counted(written),
            "gen_ai.usage.reasoning.output_tokens": counted(usage("reasoning")),
            "gen_ai.output.messages": (!said.is_empty()).then_some(said),
            "server.address": call.host,
            "server.port": at(step, &["port"]),
            "http.response.status_code": told("status"),
            "error.type": error,
            "qila.cost.micro_usd": call.micros,
            "qila.usage.exact": call.exact,
            "qila.parts.left_out": told("left_out"),
            "qila.record": record,
        });
        let name = format!("{} {}", self.operation(), call.model);
        let mut fields = Map::new();
        let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        set("name", json!(name.trim_end()));
        set("kind", json!(CLIENT));
        set("attributes", attributes(own));
        set("events", self.tools());
        if error.is_some() {
            set("status", json!({"code": ERROR}));
        }
        fields
    }

    fn choices(&self) -> impl Iterator<Item = &'a Value> {
        at(&self.call.step, &["choices"]).as_array().into_iter().flatten()
    }

    /// The tools that were asked for, by name alone. When each was run, if it was, nobody saw: they are events, not spans.
    fn tools(&self) -> Value {
        let parts = self.choices().flat_map(parts);
        let names = parts.filter(|part| at(part, &["type"]) == "tool_call");
        let tool = |part: &Value| {
            happened(
                "qila.tool.call",
                self.to_ms,
                json!({"gen_ai.tool.name": at(part, &["name"])}),
            )
        };
        names.map(tool).collect()
    }
}

/// What is at a path, or null.
fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    static NULL: Value = Value::Null;
    path.iter()
        .try_fold(value, |value, name| value.get(name))
        .unwrap_or(&NULL)
}

fn parts(choice: &Value) -> impl Iterator<Item = &Value> {
    at(choice, &["parts"]).as_array().into_iter().flatten()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "no answer takes long enough for it to show"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// What was said in an answer; none where no text of it was kept.
fn message(choice: &Value) -> Option<Value> {
    let said: Vec<Value> = parts(choice).filter_map(part).collect();
    let reason = at(choice, &["finish_reason"]).as_str().unwrap_or_default();
    (!said.is_empty()).then(|| json!({"role": "assistant", "parts": said, "finish_reason": reason}))
}

fn part(part: &Value) -> Option<Value> {
    let kind = at(part, &["type"]).as_str()?;
    if kind != "tool_call" {
        return Some(json!({"type": kind, "content": at(part, &["content", "text"]).as_str()?}));
    }
    let text = at(part, &["arguments", "text"]).as_str()?;
    // As the tool got them, if they are whole.
    let arguments: Value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    Some(json!({"type": kind, "id": at(part, &["id"]), "name": at(part, &["name"]), "arguments": arguments}))
}
