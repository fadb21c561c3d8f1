//! What a run's records are as a trace.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests: a failure here is the test's"
)]
use qila_evidence::Traces;
use qila_types::{Access, Decision, Event, EventKind, ModelCall, Outcome, RunId, StopReason, Tier, Usage};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const AT: u64 = 1_700_000_000_000;

fn run(n: u64) -> RunId {
    RunId::from_parts(n, n)
}

fn launch() -> EventKind {
    EventKind::Launch {
        tier: Tier::Container,
        policy_digest: "ab".repeat(32),
        plan_digest: "cd".repeat(32),
        command: vec!["/usr/bin/agent".into(), "--key=argument".into()],
        workspace: None,
        unenforced: vec![],
    }
}

fn decision(access: Access, allowed: bool) -> EventKind {
    EventKind::Decision(Decision {
        access,
        allowed,
        rule: None,
        credential: None,
        reason: "no rule allows it".into(),
    })
}

fn http(path: &str) -> Access {
    Access::Http {
        host: "evil.test".into(),
        port: 443,
        method: "POST".into(),
        path: path.into(),
    }
}

fn call(host: &str, api: &str, content: &Value, more: &Value) -> EventKind {
    let mut step = json!({
        "at_ms": AT + 100, "host": host, "port": 8443, "api": api, "model": "small", "response_model": "small-1",
        "response_id": "r1", "stream": true, "max_output": 64, "status": 200, "latency_ms": 250, "first_token_ms": 125,
        "usage": {"input": 40, "cached_input": 8, "cache_write": 2, "cache_write_long": 1, "output": 7, "reasoning": 3},
        "exact": true, "cost_micro_usd": 150,
        "choices": [{"finish_reason": "tool_use", "parts": [
            {"type": "text", "content": content},
            {"type": "tool_call", "id": "t1", "name": "shell", "arguments": content},
        ]}],
    });
    for (name, value) in more.as_object().unwrap() {
        step[name] = value.clone();
    }
    EventKind::ModelCall(Box::new(ModelCall {
        host: host.into(),
        model: "small".into(),
        input: 40,
        cached: 8,
        output: 7,
        micros: Some(150),
        exact: true,
        step,
    }))
}

fn exit(code: i32) -> EventKind {
    EventKind::Exit {
        outcome: Outcome {
            code: Some(code),
            signal: None,
            reason: StopReason::Finished,
        },
        usage: Usage::default(),
    }
}

/// The document of these, one record each, a second apart, and its spans.
fn exported(events: &[(u64, EventKind)]) -> (Value, Vec<Value>) {
    let mut traces = Traces::default();
    for (record, (of, kind)) in (0u64..).zip(events) {
        let event = Event {
            time_ms: AT + record * 1000,
            run: (*of > 0).then(|| run(*of)),
            kind: kind.clone(),
        };
        traces.add(record, &event);
    }
    let document = traces.document();
    let spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"].clone();
    (document, spans.as_array().cloned().unwrap_or_default())
}

fn hashed() -> Value {
    json!({"sha256": "ef".repeat(32), "bytes": 5})
}

/// An attribute of a span or an event, out of its wrapping.
fn told<'a>(of: &'a Value, name: &str) -> Option<&'a Value> {
    let all = of["attributes"].as_array().unwrap();
    let mut found = all.iter().filter(|a| a["key"] == name);
    let value = found.next()?["value"].as_object().unwrap().values().next();
    assert!(found.next().is_none(), "{name} stands twice in {of}");
    value
}

fn nanos(of: &Value, name: &str) -> u64 {
    of[name].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_run_is_the_root_and_its_calls_are_under_it() {
    let events = [
        (0, EventKind::LogOpened { version: "1".into() }),
        (1, launch()),
        (2, launch()),
        (
            1,
            call("api.anthropic.com", "anthropic_messages", &hashed(), &json!({})),
        ),
        (1, decision(http("/steal"), false)),
        (1, decision(http("/fine"), true)),
        (1, call("model.test", "openai_embeddings", &hashed(), &json!({}))),
        (1, exit(0)),
    ];
    let (document, spans) = exported(&events);
    assert_eq!(spans.len(), 4, "{document}");
    let all = &document["resourceSpans"][0];
    assert_eq!(told(&all["resource"], "service.name").unwrap(), "qila");
    for pinned in [all, &all["scopeSpans"][0]] {
        assert_eq!(pinned["schemaUrl"], "https://opentelemetry.io/schemas/1.41.0");
    }
    let hex = |text: &Value, bytes: usize| {
        let text = text.as_str().unwrap();
        assert!(
            text.len() == 2 * bytes && text.bytes().all(|b| b.is_ascii_hexdigit()),
            "{text}"
        );
        text.to_owned()
    };
    let ids: BTreeSet<String> = spans.iter().map(|s| hex(&s["spanId"], 8)).collect();
    assert_eq!(ids.len(), 4);
    let traces: BTreeSet<String> = spans.iter().map(|s| hex(&s["traceId"], 16)).collect();
    assert_eq!(traces.len(), 2, "one of each run");
    let (root, calls, other) = (&spans[0], &spans[1..3], &spans[3]);
    for alone in [root, other] {
        assert_eq!(alone["parentSpanId"], Value::Null);
        assert_eq!(
            (&alone["name"], &alone["kind"]),
            (&json!("invoke_agent"), &json!(1))
        );
    }
    for call in calls {
        assert_eq!(call["parentSpanId"], root["spanId"]);
        assert_eq!(call["traceId"], root["traceId"]);
        assert_eq!(call["kind"], 3);
        assert!(nanos(root, "startTimeUnixNano") <= nanos(call, "startTimeUnixNano"));
        assert!(nanos(call, "endTimeUnixNano") <= nanos(root, "endTimeUnixNano"));
        assert_eq!(nanos(call, "startTimeUnixNano"), (AT + 100) * 1_000_000);
        assert_eq!(nanos(call, "endTimeUnixNano"), (AT + 350) * 1_000_000);
    }
    // The call began before the run's first record: the run's span has it all the same.
    assert_eq!(nanos(root, "startTimeUnixNano"), (AT + 100) * 1_000_000);
    assert_eq!(nanos(root, "endTimeUnixNano"), (AT + 7000) * 1_000_000);
    assert_eq!(told(root, "gen_ai.provider.name").unwrap(), "anthropic");
    assert_eq!(told(other, "gen_ai.provider.name").unwrap(), "qila");
    assert_eq!(told(root, "qila.run").unwrap(), run(1).as_str());
    assert_eq!(told(root, "process.executable.name").unwrap(), "agent");
    assert!(!document.to_string().contains("--key=argument"));
    let denied = root["events"].as_array().unwrap();
    assert_eq!(denied.len(), 1, "{root}");
    assert_eq!(told(&denied[0], "url.path").unwrap(), "/steal");
    assert_eq!(told(&denied[0], "server.address").unwrap(), "evil.test");
    assert_eq!(told(&denied[0], "qila.record").unwrap(), "4");
    assert_eq!(nanos(&denied[0], "timeUnixNano"), (AT + 4000) * 1_000_000);
    assert_eq!(exported(&events).0, document, "the same twice");
}

#[test]
fn a_call_tells_what_its_record_does() {
    let (_, spans) = exported(&[(
        1,
        call("api.anthropic.com", "anthropic_messages", &hashed(), &json!({})),
    )]);
    let span = &spans[1];
    assert_eq!(span["name"], "chat small");
    for (name, value) in [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("anthropic")),
        ("gen_ai.request.model", json!("small")),
        ("gen_ai.request.max_tokens", json!("64")),
        ("gen_ai.request.stream", json!(true)),
        ("gen_ai.response.model", json!("small-1")),
        ("gen_ai.response.id", json!("r1")),
        (
            "gen_ai.response.finish_reasons",
            json!({"values": [{"stringValue": "tool_use"}]}),
        ),
        ("gen_ai.response.time_to_first_chunk", json!(0.125)),
        ("gen_ai.usage.input_tokens", json!("40")),
        ("gen_ai.usage.output_tokens", json!("7")),
        ("gen_ai.usage.cache_read.input_tokens", json!("8")),
        ("gen_ai.usage.cache_creation.input_tokens", json!("3")),
        ("gen_ai.usage.reasoning.output_tokens", json!("3")),
        ("server.address", json!("api.anthropic.com")),
        ("server.port", json!("8443")),
        ("http.response.status_code", json!("200")),
        ("qila.cost.micro_usd", json!("150")),
        ("qila.usage.exact", json!(true)),
        ("qila.record", json!("0")),
    ] {
        assert_eq!(told(span, name), Some(&value), "{name}");
    }
    assert_eq!(told(span, "error.type"), None);
    assert_eq!(span["status"], Value::Null);
    // Of what was said there is only a hash, which is no content.
    assert_eq!(told(span, "gen_ai.output.messages"), None);
    let tools = span["events"].as_array().unwrap();
    assert_eq!(tools.len(), 1);
    assert_eq!(told(&tools[0], "gen_ai.tool.name").unwrap(), "shell");
    assert_eq!(
        tools[0]["attributes"].as_array().unwrap().len(),
        1,
        "the name alone"
    );
}

#[test]
fn text_is_there_only_if_it_was_kept() {
    let kept = json!({"text": "{\"a\":[1,null]}", "bytes": 14, "cut": false});
    let (_, spans) = exported(&[(1, call("h.test", "gemini", &kept, &json!({})))]);
    let said = told(&spans[1], "gen_ai.output.messages").unwrap();
    let text = said.to_string();
    assert!(text.contains(r#"{"stringValue":"{\"a\":[1,null]}"}"#), "{text}");
    // Arguments are the value that the tool got.
    assert!(text.contains(r#"{"intValue":"1"}"#), "{text}");
    assert!(text.contains(r#"{"stringValue":"assistant"}"#), "{text}");
    assert_eq!(
        told(&spans[1], "gen_ai.operation.name").unwrap(),
        "generate_content"
    );
}

#[test]
fn errors_are_told() {
    for (more, kind) in [
        (
            json!({"status": 529, "error": "overloaded_error"}),
            "overloaded_error",
        ),
        (json!({"status": 503}), "503"),
        (json!({"status": 0}), "no_response"),
        (json!({"status": 200, "error": ""}), "_OTHER"),
    ] {
        let (_, spans) = exported(&[(1, call("h.test", "openai_chat", &hashed(), &more))]);
        assert_eq!(told(&spans[1], "error.type").unwrap(), kind, "{more}");
        assert_eq!(spans[1]["status"]["code"], 2);
    }
    let (_, spans) = exported(&[(1, launch()), (1, exit(3))]);
    assert_eq!(told(&spans[0], "error.type").unwrap(), "exit_code");
    assert_eq!(told(&spans[0], "process.exit.code").unwrap(), "3");
    assert_eq!(spans[0]["status"]["code"], 2);
    let (_, spans) = exported(&[(1, launch()), (1, exit(0))]);
    assert_eq!(
        (told(&spans[0], "error.type"), &spans[0]["status"]),
        (None, &Value::Null)
    );
}

#[test]
fn a_step_that_was_shortened_is_still_a_span() {
    let more = json!({"choices": ["… (99 items)", {"finish_reason": 7, "parts": "…"}], "usage": "…", "response_id": "…"});
    let (_, spans) = exported(&[(1, call("h.test", "openai_responses", &hashed(), &more))]);
    assert_eq!(told(&spans[1], "gen_ai.usage.input_tokens").unwrap(), "40");
    assert_eq!(spans[1]["events"], json!([]));
}

#[test]
fn denials_without_end_are_counted() {
    let mut events = vec![(1, launch())];
    events.extend((0..1500).map(|n| (1, decision(http(&format!("/{n}")), false))));
    let (_, spans) = exported(&events);
    assert_eq!(spans[0]["events"].as_array().unwrap().len(), 1000);
    assert_eq!(spans[0]["droppedEventsCount"], 500);
    assert_eq!(exported(&[(0, launch())]).0, json!({"resourceSpans": []}));
}
