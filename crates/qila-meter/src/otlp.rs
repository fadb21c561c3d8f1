//! A step as an OpenTelemetry span, in OTLP's JSON form.
//!
//! Attributes are those of the GenAI semantic conventions 1.41.0, the last release of the core conventions that holds them
//! (<https://github.com/open-telemetry/semantic-conventions/blob/v1.41.0/docs/gen-ai/gen-ai-spans.md>); the form is
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: ids in hex, 64-bit numbers as texts. Attributes of our own
//! begin with `qila.`.
use crate::api::Api;
use crate::content::{Stored, hex};
use crate::step::{Step, StepPart};
use serde_json::{Value, json};

/// The schema that the attributes follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// The ids of a span, which the caller makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The trace: usually one for a run.
    pub trace: [u8; 16],
    /// The span.
    pub span: [u8; 8],
    /// The span above it.
    pub parent: Option<[u8; 8]>,
}

/// The span of one step.
pub fn span(step: &Step, ids: &Ids) -> Value {
    let begin = u128::from(step.at_ms) * 1_000_000;
    let end = begin + u128::from(step.latency_ms) * 1_000_000;
    let failed = step.error.is_some() || !(200..300).contains(&step.status);
    let mut span = json!({
        "traceId": hex(&ids.trace),
        "spanId": hex(&ids.span),
        "name": format!("{} {}", operation(step.api), step.model),
        // SPAN_KIND_CLIENT
        "kind": 3,
        "startTimeUnixNano": begin.to_string(),
        "endTimeUnixNano": end.to_string(),
        "attributes": attributes(step, failed),
        // STATUS_CODE_ERROR or unset
        "status": if failed { json!({"code": 2}) } else { json!({}) },
    });
    if let (Some(parent), Some(object)) = (ids.parent, span.as_object_mut()) {
        object.insert("parentSpanId".to_owned(), hex(&parent).into());
    }
    span
}

/// The body of one export: `ExportTraceServiceRequest`. `resource` names what made the spans, such as `service.name`.
pub fn export(spans: Vec<Value>, resource: &[(&str, &str)]) -> Value {
    let resource: Vec<Value> = resource.iter().map(|(key, value)| text(key, value)).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{
            "scope": {"name": "qila-meter", "version": env!("CARGO_PKG_VERSION")},
            "schemaUrl": SCHEMA_URL,
            "spans": spans,
        }],
        "schemaUrl": SCHEMA_URL,
    }]})
}

fn operation(api: Api) -> &'static str {
    match api {
        Api::OpenaiChat | Api::OpenaiResponses | Api::AnthropicMessages => "chat",
        Api::OpenaiEmbeddings => "embeddings",
        Api::Gemini => "generate_content",
    }
}

/// Providers with a name in the conventions, by the end of their host's name.
const PROVIDERS: &[(&str, &str)] = &[
    ("openai.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("api.anthropic.com", "anthropic"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.com", "cohere"),
];

fn provider(step: &Step) -> &'static str {
    let named = PROVIDERS.iter().find(|(end, _)| step.host.ends_with(end));
    named.map(|(_, name)| *name).unwrap_or(match step.api {
        Api::AnthropicMessages => "anthropic",
        Api::Gemini => "gcp.gen_ai",
        Api::OpenaiChat | Api::OpenaiResponses | Api::OpenaiEmbeddings => "openai",
    })
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn int(key: &str, value: u64) -> Value {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

fn flag(key: &str, value: bool) -> Value {
    json!({"key": key, "value": {"boolValue": value}})
}

fn seconds(key: &str, ms: u64) -> Value {
    json!({"key": key, "value": {"doubleValue": ms as f64 / 1000.0}})
}

fn attributes(step: &Step, failed: bool) -> Vec<Value> {
    let usage = &step.usage;
    let mut list = vec![
        text("gen_ai.operation.name", operation(step.api)),
        text("gen_ai.provider.name", provider(step)),
        text("gen_ai.request.model", &step.model),
        text("server.address", &step.host),
        int("server.port", step.port.into()),
    ];
    if step.stream {
        list.push(flag("gen_ai.request.stream", true));
    }
    if let Some(max) = step.max_output {
        list.push(int("gen_ai.request.max_tokens", max));
    }
    if let Some(model) = &step.response_model {
        list.push(text("gen_ai.response.model", model));
    }
    if let Some(id) = &step.response_id {
        list.push(text("gen_ai.response.id", id));
    }
    let reasons: Vec<Value> = step
        .choices
        .iter()
        .filter_map(|c| c.finish_reason.as_deref())
        .map(|reason| json!({"stringValue": reason}))
        .collect();
    if !reasons.is_empty() {
        list.push(
            json!({"key": "gen_ai.response.finish_reasons", "value": {"arrayValue": {"values": reasons}}}),
        );
    }
    if let Some(ms) = step.first_token_ms.filter(|_| step.stream) {
        list.push(seconds("gen_ai.response.time_to_first_chunk", ms));
    }
    list.push(int("gen_ai.usage.input_tokens", usage.input));
    list.push(int("gen_ai.usage.output_tokens", usage.output));
    for (key, value) in [
        ("gen_ai.usage.cache_read.input_tokens", usage.cached_input),
        (
            "gen_ai.usage.cache_creation.input_tokens",
            usage.cache_write.saturating_add(usage.cache_write_long),
        ),
        ("gen_ai.usage.reasoning.output_tokens", usage.reasoning),
        ("qila.usage.hosted_calls", usage.hosted_calls),
    ] {
        if value > 0 {
            list.push(int(key, value));
        }
    }
    if !step.exact {
        list.push(flag("qila.usage.worst_case", true));
    }
    if let Some(cost) = step.cost_micro_usd {
        list.push(int("qila.cost.micro_usd", cost.0));
    }
    if failed {
        let kind = match step.error.as_deref() {
            None | Some("") if step.status == 0 => "_OTHER".to_owned(),
            None | Some("") => step.status.to_string(),
            Some(kind) => kind.to_owned(),
        };
        list.push(text("error.type", &kind));
    }
    if let Some(messages) = messages(step) {
        // Where structured values are not supported, the conventions want a JSON text.
        list.push(text("gen_ai.output.messages", &messages.to_string()));
    }
    list
}

/// The answers in the form of the conventions, where anything of them is kept. What is only hashed is left out.
fn messages(step: &Step) -> Option<Value> {
    let kept = |stored: &Stored| match stored {
        Stored::Kept { text, .. } => Some(text.clone()),
        Stored::Hashed { .. } => None,
    };
    let mut any = false;
    let messages: Vec<Value> = step
        .choices
        .iter()
        .map(|choice| {
            let parts: Vec<Value> = choice
                .parts
                .iter()
                .filter_map(|part| match part {
                    StepPart::Text { content } => Some(json!({"type": "text", "content": kept(content)?})),
                    StepPart::Reasoning { content } => {
                        Some(json!({"type": "reasoning", "content": kept(content)?}))
                    }
                    StepPart::ToolCall {
                        id, name, arguments, ..
                    } => {
                        let arguments = arguments.as_ref().and_then(kept)?;
                        // Whole JSON stands as such; what was cut or is no JSON as a text.
                        let arguments = serde_json::from_str(&arguments).unwrap_or(Value::String(arguments));
                        Some(json!({"type": "tool_call", "id": id, "name": name, "arguments": arguments}))
                    }
                })
                .collect();
            any |= !parts.is_empty();
            let reason = choice.finish_reason.as_deref().unwrap_or("");
            json!({"role": "assistant", "parts": parts, "finish_reason": reason})
        })
        .collect();
    any.then_some(Value::Array(messages))
}
