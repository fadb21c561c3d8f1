//! What is spent on models, judged by the server that counts the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/outside.rs"]
mod outside;
#[path = "common/upstream.rs"]
mod upstream;
use common::{Place, err, everywhere, out};
use outside::KEY;
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use upstream::{Got, Upstream, Wire, answer};

const RULES: &str = "network:
  allow:
    - {host: api.test, methods: [POST], paths: ['/v1/**'], credential: key}
credentials:
  key: {source: env:REAL_KEY, placement: bearer, hosts: [api.test], env: [API_KEY]}
";

/// Two dollars for a million tokens of input, ten for one of output.
const PRICES: &str = "version: 1
models:
  - names: [small]
    input: 2
    cached_input: 1
    output: 10
    context: 100000
    max_output: 1000
";

/// A server that uses, for each call, as many tokens as its body is long, and 50 of output; it counts what it told.
fn model(told: &Arc<AtomicU64>, slow: Duration) -> Upstream {
    let told = told.clone();
    Upstream::start(&["api.test"], move |got, wire| {
        std::thread::sleep(slow);
        serve(got, wire, &told)
    })
}

fn serve(got: &Got, wire: &mut dyn Wire, told: &AtomicU64) -> std::io::Result<()> {
    let asked: Value = serde_json::from_slice(&got.body).unwrap_or_default();
    let input = u64::try_from(got.body.len()).unwrap();
    told.fetch_add(input * 2 + 50 * 10, Ordering::SeqCst);
    if got.path().ends_with("/messages") {
        let stop =
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":50}}"#;
        let start = serde_json::json!({"type": "message_start", "message": {"id": "m", "model": "small", "usage": {"input_tokens": input, "output_tokens": 1}}});
        let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}"#;
        let body = format!(
            "event: message_start\ndata: {start}\n\nevent: content_block_delta\ndata: {text}\n\nevent: message_delta\ndata: {stop}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        );
        return answer(
            wire,
            "200 OK",
            "content-type: text/event-stream\r\n",
            body.as_bytes(),
        );
    }
    let usage =
        serde_json::json!({"prompt_tokens": input, "completion_tokens": 50, "total_tokens": input + 50});
    if asked["stream"] == true {
        let mut body = String::from(
            "data: {\"id\":\"c\",\"model\":\"small\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n",
        );
        if asked["stream_options"]["include_usage"] == true {
            body +=
                &format!("data: {{\"id\":\"c\",\"model\":\"small\",\"choices\":[],\"usage\":{usage}}}\n\n");
        }
        body += "data: [DONE]\n\n";
        return answer(
            wire,
            "200 OK",
            "content-type: text/event-stream\r\n",
            body.as_bytes(),
        );
    }
    let body = serde_json::json!({"id": "c", "model": "small", "usage": usage,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]});
    answer(
        wire,
        "200 OK",
        "content-type: application/json\r\n",
        body.to_string().as_bytes(),
    )
}

fn prepared(place: &Place, tier: &str, server: &Upstream, budgets: &str, script: &str) -> Command {
    let policy = place.policy("policy.yaml", &format!("{RULES}{budgets}"));
    let (ca, prices) = (
        place.write("ca.pem", &server.ca),
        place.write("prices.yaml", PRICES),
    );
    let up = server.at("api.test");
    let args = [
        "run",
        "--json",
        "--policy",
        &policy,
        "--isolation",
        tier,
        "--agent",
        "tester",
        "--prices",
        prices.to_str().unwrap(),
        "--upstream",
        &up,
        "--upstream-ca",
        ca.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        script,
    ];
    let mut command = place.qila(&args);
    command.env("REAL_KEY", KEY);
    command
}

fn run(place: &Place, tier: &str, server: &Upstream, budgets: &str, script: &str) -> Output {
    prepared(place, tier, server, budgets, script).output().unwrap()
}

const ASK: &str = "ask() { curl -sS -m 20 -w '%{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" -H 'Content-Type: application/json' -d \"$2\" https://api.test/v1/$1; }\n";
const CHAT: &str = r#"{"model":"small","max_tokens":100,"messages":[{"role":"user","content":"hello"}]}"#;

/// Two hundred connections that ask at the same moment; their certificates are read once.
const MANY: &str = r#"
import http.client, os, ssl, sys, threading
context, barrier, codes = ssl.create_default_context(), threading.Barrier(200), []
def ask():
    c = http.client.HTTPSConnection("api.test", timeout=60, context=context); c.connect(); barrier.wait(60)
    c.request("POST", "/v1/chat/completions", sys.argv[1], {"Authorization": "Bearer " + os.environ["API_KEY"], "Content-Type": "application/json"})
    codes.append(c.getresponse().status)
threads = [threading.Thread(target=ask) for _ in range(200)]
for t in threads: t.start()
for t in threads: t.join()
print("\n".join(map(str, codes)))
"#;

/// All that the log has of calls, in millionths of a dollar.
fn logged(place: &Place) -> (u64, Vec<Value>) {
    let log = out(&place.qila(&["log", "--json"]).output().unwrap());
    let events = log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let calls: Vec<Value> = events
        .map(|e| {
            if e["event"].is_object() {
                e["event"].clone()
            } else {
                e
            }
        })
        .filter(|e| e["event"] == "model_call")
        .collect();
    (calls.iter().map(|c| c["micros"].as_u64().unwrap()).sum(), calls)
}

#[test]
fn what_the_log_says_is_what_the_server_told() {
    everywhere(|place, tier| {
        let told = Arc::new(AtomicU64::new(0));
        let server = model(&told, Duration::ZERO);
        let stream = CHAT.replace("\"model\"", "\"stream\":true,\"model\"");
        let script = format!(
            "{ASK}ask chat/completions '{CHAT}'; ask chat/completions '{stream}'; ask messages '{stream}'; ask responses '{{}}'"
        );
        let done = run(
            place,
            tier,
            &server,
            "budgets: [{money: 1 USD}, {tokens: 100000}]\n",
            &script,
        );
        let text = out(&done);
        // The chunk that only the gateway had asked for stays with it.
        assert!(
            text.contains("[DONE]") && !text.contains("\"choices\":[]"),
            "{text} {}",
            err(&done)
        );
        assert_eq!(text.matches("200\n").count(), 3, "{text}");
        assert!(text.contains("qila_budget") && text.ends_with("402\n"), "{text}");
        assert_eq!(server.got().len(), 3);
        let (sum, calls) = logged(place);
        assert_eq!(sum, told.load(Ordering::SeqCst), "{calls:?}");
        assert!(
            calls
                .iter()
                .all(|c| c["exact"] == true && c["model"] == "small" && c["output"] == 50),
            "{calls:?}"
        );
        assert_eq!(
            calls[0]["step"]["choices"][0]["parts"][0]["content"]["bytes"], 2,
            "{calls:?}"
        );
        let summary: Value = serde_json::from_str(err(&done).lines().last().unwrap()).unwrap();
        assert_eq!(summary["micro_usd"].as_u64(), Some(sum));
        assert_eq!(summary["model_calls"], 3);
    });
}

/// An attribute of a span, out of its wrapping.
fn told<'a>(span: &'a Value, name: &str) -> Option<&'a Value> {
    let mut all = span["attributes"].as_array().unwrap().iter();
    let found = all.find(|a| a["key"] == name)?;
    found["value"].as_object().unwrap().values().next()
}

#[test]
fn traces_of_opentelemetry_have_what_the_server_told() {
    everywhere(|place, tier| {
        let server = model(&Arc::default(), Duration::ZERO);
        let stream = CHAT.replace("\"model\"", "\"stream\":true,\"model\"");
        let script = format!(
            "{ASK}ask chat/completions '{CHAT}'; ask messages '{stream}'; curl -sS -m 20 https://api.test/admin"
        );
        let kept = "traces: {content: keep}\n";
        let first = run(place, tier, &server, "", &script);
        assert!(
            out(&first).contains("qila_denied"),
            "{} {}",
            out(&first),
            err(&first)
        );
        run(place, tier, &server, kept, &script);
        let export = |run: &[&str]| {
            let output = place
                .qila(&[&["log", "--otlp"][..], run].concat())
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", err(&output));
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let all = export(&[]);
        assert_eq!(all, export(&[]));
        let spans = all["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap();
        let of = |name: &str| {
            spans
                .iter()
                .filter(|s| told(s, "gen_ai.operation.name").unwrap() == name)
                .collect::<Vec<_>>()
        };
        let (roots, calls) = (of("invoke_agent"), of("chat"));
        assert_eq!((roots.len(), calls.len(), spans.len()), (2, 4, 6), "{all}");
        let sum = |name: &str| {
            calls
                .iter()
                .map(|c| told(c, name).unwrap().as_str().unwrap().parse::<usize>().unwrap())
                .sum::<usize>()
        };
        let asked: usize = server.got().iter().map(|g| g.body.len()).sum();
        assert_eq!(sum("gen_ai.usage.input_tokens"), asked);
        assert_eq!(sum("gen_ai.usage.output_tokens"), 4 * 50);
        assert_eq!(sum("qila.cost.micro_usd"), asked * 2 + 4 * 50 * 10);
        let said: Vec<bool> = calls
            .iter()
            .map(|c| told(c, "gen_ai.output.messages").is_some())
            .collect();
        assert_eq!(said, [false, false, true, true], "only where the policy keeps it");
        for root in &roots {
            let events = root["events"].as_array().unwrap();
            assert!(
                events
                    .iter()
                    .any(|e| told(e, "url.path").is_some_and(|p| p == "/admin")),
                "{root}"
            );
        }
        // One run alone is its own trace.
        let one = export(&["latest"]);
        let one = one["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap();
        assert_eq!(one, &spans[3..]);
        let both = place.qila(&["log", "--otlp", "--json"]).output().unwrap();
        assert_eq!(both.status.code(), Some(2), "{}", err(&both));
    });
}

#[test]
fn two_hundred_at_once_do_not_overrun() {
    everywhere(|place, tier| {
        let told = Arc::new(AtomicU64::new(0));
        let server = model(&told, Duration::from_millis(30));
        // Room for the worst case of twelve at once, and for more than that as they settle.
        let worst = (CHAT.len() as u64 + 4096) * 2 + 100 * 10;
        let limit = worst * 12;
        let policy = format!("budgets: [{{money: 0.{limit:06} USD}}]\n");
        place.write("ws/many.py", MANY);
        let script = format!("python3 many.py '{CHAT}'");
        let done = run(place, tier, &server, &policy, &script);
        let text = out(&done);
        let count = |code: &str| text.lines().filter(|l| *l == code).count();
        assert_eq!(count("200") + count("402"), 200, "{text} {}", err(&done));
        let spent = told.load(Ordering::SeqCst);
        assert!(
            count("200") >= 12 && count("402") > 0 && spent <= limit,
            "{spent} of {limit}: {text}"
        );
        assert_eq!(logged(place).0, spent);
    });
}

#[test]
fn a_budget_of_an_agent_outlives_its_runs_and_their_deaths() {
    everywhere(|place, tier| {
        let told = Arc::new(AtomicU64::new(0));
        let server = model(&told, Duration::ZERO);
        let worst = (CHAT.len() as u64 + 4096) * 2 + 100 * 10;
        let policy = format!("budgets: [{{money: 0.{:06} USD, per: agent}}]\n", worst * 2);
        let script = format!("{ASK}ask chat/completions '{CHAT}'");
        assert!(out(&run(place, tier, &server, &policy, &script)).ends_with("200\n"));
        // One that dies with a call under way has spent all that was reserved for it.
        let slow = model(&told, Duration::from_secs(20));
        let mut child = prepared(place, tier, &slow, &policy, &script)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..400 {
            if !slow.got().is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let text = out(&run(place, tier, &server, &policy, &script));
        assert!(text.ends_with("402\n") && text.contains("has no room"), "{text}");
        // Of a third run by another name nothing is known.
        let other = run(
            place,
            tier,
            &server,
            &policy.replace("per: agent", "per: run"),
            &script,
        );
        assert!(out(&other).ends_with("200\n"));
    });
}

#[test]
fn requests_and_bytes_are_counted_too() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], |_, wire| {
            answer(wire, "200 OK", "", &[b'x'; 300_000])
        });
        let script = format!("{ASK}for i in 1 2 3; do ask other x | tail -c 4; done");
        let text = out(&run(place, tier, &server, "budgets: [{requests: 2}]\n", &script));
        assert_eq!(text, "200\n200\n402\n");
        let windowed = run(
            place,
            tier,
            &server,
            "budgets: [{requests: 2, window: 1h}]\n",
            &script,
        );
        let text = out(&windowed);
        assert_eq!(text, "200\n200\n429\n", "{}", err(&windowed));
        // The third answer is cut where the room ends.
        let counted = "for i in 1 2 3; do curl -s -m 20 -d x https://api.test/v1/x | wc -c; done";
        let text = out(&run(
            place,
            tier,
            &server,
            "budgets: [{bytes: 700KiB}]\n",
            counted,
        ));
        let counts: Vec<u64> = text.lines().map(|l| l.trim().parse().unwrap()).collect();
        assert_eq!(&counts[..2], [300_000, 300_000], "{text}");
        assert!(
            counts[2] < 300_000 && counts.iter().sum::<u64>() < 700 * 1024,
            "{text}"
        );
    });
}
