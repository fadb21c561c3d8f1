//! Runs and their calls of models as traces of OpenTelemetry: OTLP in JSON, by the semantic conventions for generative AI.
mod call;

use qila_types::{Access, Decision, Event, EventKind, Outcome, RunId, StopReason};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The version of the semantic conventions, as its schema: the last that had those for generative AI in it.
pub const OTLP_SCHEMA: &str = "https://opentelemetry.io/schemas/1.41.0";

/// Most denied accesses of a run that its span has: an agent can make as many as it likes, and receivers bound what they take.
const DENIED: usize = 1000;

const INTERNAL: u32 = 1;
const CLIENT: u32 = 3;
const ERROR: u32 = 2;

/// Traces, one of each run: its root is the run, under which its calls of models are.
#[derive(Debug, Default)]
pub struct Traces(BTreeMap<RunId, Run>);

#[derive(Debug)]
struct Run {
    from_ms: u64,
    to_ms: u64,
    attributes: Map<String, Value>,
    failure: Option<(&'static str, String)>,
    calls: Vec<Value>,
    denied: Vec<Value>,
    dropped: u64,
}

impl Traces {
    /// Adds a record. Those of no run, and of kinds that no span tells of, change nothing but when the run was.
    pub fn add(&mut self, record: u64, event: &Event) {
        let Some(id) = &event.run else { return };
        let run = self
            .0
            .entry(id.clone())
            .or_insert_with(|| Run::new(id, event.time_ms));
        run.saw(event.time_ms, event.time_ms);
        match &event.kind {
            EventKind::Launch {
                tier,
                policy_digest,
                command,
                ..
            } => {
                let name = command.first().map(|c| c.rsplit('/').next().unwrap_or_default());
                run.set("process.executable.name", json!(name));
                run.set("qila.tier", json!(tier));
                run.set("qila.policy.sha256", json!(policy_digest));
            }
            EventKind::Refused { clause, reason } => {
                run.failure = Some(("refused", format!("{clause}: {reason}")));
            }
            EventKind::Exit { outcome, .. } => {
                run.set("process.exit.code", json!(outcome.code));
                run.failure = failure(outcome);
            }
            EventKind::Decision(decision) if !decision.allowed => run.deny(record, event.time_ms, decision),
            EventKind::ModelCall(call) => {
                let call = call::Call::read(call, event.time_ms);
                run.saw(call.from_ms, call.to_ms);
                let provider = run.attributes.entry("gen_ai.provider.name");
                provider.or_insert_with(|| json!(call.provider()));
                let mut span = span(id, Some(record), (call.from_ms, call.to_ms));
                span.extend(call.fields(record));
                run.calls.push(Value::Object(span));
            }
            _ => {}
        }
    }

    /// All of them as one request to export traces. The same records give the same document.
    pub fn document(self) -> Value {
        let spans: Vec<Value> = self.0.into_iter().flat_map(|(id, run)| run.spans(&id)).collect();
        if spans.is_empty() {
            return json!({"resourceSpans": []});
        }
        let version = env!("CARGO_PKG_VERSION");
        json!({"resourceSpans": [{
            "resource": {"attributes": attributes(json!({"service.name": "qila", "service.version": version}))},
            "schemaUrl": OTLP_SCHEMA,
            "scopeSpans": [{
                "scope": {"name": "qila", "version": version},
                "schemaUrl": OTLP_SCHEMA,
                "spans": spans,
            }],
        }]})
    }
}

impl Run {
    fn new(id: &RunId, at_ms: u64) -> Run {
        let mut run = Run {
            from_ms: at_ms,
            to_ms: at_ms,
            attributes: Map::new(),
            failure: None,
            calls: Vec::new(),
            denied: Vec::new(),
            dropped: 0,
        };
        run.set("gen_ai.operation.name", json!("invoke_agent"));
        run.set("qila.run", json!(id.as_str()));
        run
    }

    fn set(&mut self, name: &str, value: Value) {
        self.attributes.insert(name.to_owned(), value);
    }

    /// The run was there from the one to the other. Clocks jump, and a span holds all that is in it.
    fn saw(&mut self, from_ms: u64, to_ms: u64) {
        self.from_ms = self.from_ms.min(from_ms);
        self.to_ms = self.to_ms.max(to_ms);
    }

    fn deny(&mut self, record: u64, at_ms: u64, decision: &Decision) {
        if self.denied.len() >= DENIED {
            self.dropped += 1;
            return;
        }
        let mut about = match &decision.access {
            Access::Dns { name, qtype } => json!({"dns.question.name": name, "qila.access.type": qtype}),
            Access::Connect { host, port } => json!({"server.address": host, "server.port": port}),
            Access::Http {
                host,
                port,
                method,
                path,
            } => json!({
                "server.address": host,
                "server.port": port,
                "http.request.method": method,
                "url.path": path,
            }),
        };
        if let Value::Object(about) = &mut about {
            about.insert("qila.rule".to_owned(), json!(decision.rule));
            about.insert("qila.reason".to_owned(), json!(decision.reason));
            about.insert("qila.record".to_owned(), json!(record));
        }
        self.denied.push(happened("qila.access.denied", at_ms, about));
    }

    fn spans(mut self, id: &RunId) -> impl Iterator<Item = Value> + use<> {
        let mut root = span(id, None, (self.from_ms, self.to_ms));
        root.insert("name".to_owned(), json!("invoke_agent"));
        root.insert("kind".to_owned(), json!(INTERNAL));
        if let Some((kind, why)) = &self.failure {
            self.attributes.insert("error.type".to_owned(), json!(kind));
            root.insert("status".to_owned(), json!({"code": ERROR, "message": why}));
        }
        // The conventions ask for one also where no model was called.
        let provider = self.attributes.entry("gen_ai.provider.name");
        provider.or_insert_with(|| json!("qila"));
        root.insert(
            "attributes".to_owned(),
            attributes(Value::Object(self.attributes)),
        );
        root.insert("events".to_owned(), Value::Array(self.denied));
        if self.dropped > 0 {
            root.insert("droppedEventsCount".to_owned(), json!(self.dropped));
        }
        std::iter::once(Value::Object(root)).chain(self.calls)
    }
}

fn failure(outcome: &Outcome) -> Option<(&'static str, String)> {
    match (&outcome.reason, outcome.code, outcome.signal) {
        (StopReason::Finished, Some(0), _) => None,
        (StopReason::Finished, Some(code), _) => Some(("exit_code", format!("exit code {code}"))),
        (StopReason::Finished, None, signal) => {
            Some(("signal", format!("signal {}", signal.unwrap_or_default())))
        }
        (StopReason::Limit { clause, limit }, ..) => {
            Some(("limit", format!("{clause} limit {limit} reached")))
        }
        (StopReason::Killed, ..) => Some(("killed", "killed".to_owned())),
        (StopReason::FailedClosed { what }, ..) => Some(("failed_closed", what.clone())),
        (StopReason::Orphaned, ..) => Some(("orphaned", "the supervising process vanished".to_owned())),
    }
}

/// What every span has: the root of a run, or what a record of it tells, under the root. Its ids are hashes of the run's id and
/// the record's number, so that who exports twice says the same twice.
fn span(run: &RunId, record: Option<u64>, (from_ms, to_ms): (u64, u64)) -> Map<String, Value> {
    let run = run.as_str();
    let root = format!("qila span {run}");
    let mut span = Map::new();
    let mut set = |name: &str, value: String| span.insert(name.to_owned(), Value::String(value));
    set("traceId", id(&format!("qila trace {run}"), 16));
    match record {
        None => set("spanId", id(&root, 8)),
        Some(record) => {
            set("parentSpanId", id(&root, 8));
            set("spanId", id(&format!("{root} {record}"), 8))
        }
    };
    set("startTimeUnixNano", nanos(from_ms));
    set("endTimeUnixNano", nanos(to_ms));
    span
}

fn id(of: &str, bytes: usize) -> String {
    let digest = Sha256::digest(of);
    digest.iter().take(bytes).map(|b| format!("{b:02x}")).collect()
}

fn nanos(ms: u64) -> String {
    ms.saturating_mul(1_000_000).to_string()
}

/// An event of a span.
fn happened(name: &str, at_ms: u64, about: Value) -> Value {
    json!({"name": name, "timeUnixNano": nanos(at_ms), "attributes": attributes(about)})
}

/// The fields of an object that are not null, as attributes.
fn attributes(of: Value) -> Value {
    match of {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(pair)
            .collect(),
        _ => json!([]),
    }
}

fn pair((key, value): (&String, &Value)) -> Value {
    json!({"key": key, "value": any(value)})
}

/// A value as OTLP's AnyValue in JSON, where whole numbers are texts.
fn any(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(b) => json!({"boolValue": b}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(n), _) => json!({"intValue": n.to_string()}),
            (None, Some(_)) => json!({"intValue": i64::MAX.to_string()}),
            (None, None) => json!({"doubleValue": n}),
        },
        Value::Array(items) => json!({"arrayValue": {"values": items.iter().map(any).collect::<Value>()}}),
        Value::Object(fields) => {
            json!({"kvlistValue": {"values": fields.iter().map(pair).collect::<Value>()}})
        }
    }
}
