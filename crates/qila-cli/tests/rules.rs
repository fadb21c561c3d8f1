//! Rules that ask more of a request than its method and path, judged by a real server.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/upstream.rs"]
mod upstream;
use common::{Place, err, everywhere, out};
use upstream::{Upstream, answer};

fn ask(place: &Place, tier: &str, server: &Upstream, rule: &str, asks: &[&str]) -> Vec<String> {
    let policy = place.policy(
        "policy.yaml",
        &format!("network: {{allow: [{{host: api.test, {rule}}}]}}"),
    );
    let (ca, up) = (place.write("ca.pem", &server.ca), server.at("api.test"));
    let script: Vec<String> = asks
        .iter()
        .map(|a| format!("curl -s -m 20 -o out -w '%{{http_code}}\\n' {a}; cat out >> all"))
        .collect();
    let script = format!("{}; echo; cat all", script.join("\n"));
    let args = [
        "run",
        "-q",
        "--policy",
        &policy,
        "--isolation",
        tier,
        "--upstream",
        &up,
        "--upstream-ca",
        ca.to_str().unwrap(),
        "--",
        "sh",
        "-c",
        &script,
    ];
    let done = place.qila(&args).output().unwrap();
    let text = out(&done);
    assert!(!text.is_empty(), "{}", err(&done));
    text.lines().map(str::to_owned).collect()
}

const U: &str = "https://api.test/x";

fn codes(place: &Place, tier: &str, server: &Upstream, rule: &str, asks: &[String]) -> String {
    let asks: Vec<&str> = asks.iter().map(String::as_str).collect();
    let lines = ask(place, tier, server, rule, &asks);
    lines
        .iter()
        .take_while(|l| !l.is_empty())
        .cloned()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn queries_headers_sizes_and_conditions_decide() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        place.write("ws/fits", &"x".repeat(1024));
        place.write("ws/over", &"x".repeat(1025));
        let with = |s: &str| format!("{s} {U}");
        let q = |s: &str| format!("'{U}?{s}'");
        let codes = |rule: &str, asks: &[String]| codes(place, tier, &server, rule, asks);
        assert_eq!(
            codes(
                "query: {page: '[0-9]*'}",
                &[
                    q("page=12"),
                    q("page=a"),
                    q("x=1"),
                    q("page=1&page=2"),
                    q("p%61ge=3")
                ]
            ),
            "200 403 403 403 200"
        );
        assert_eq!(
            codes(
                "headers: {x-team: 'blue*'}",
                &[
                    with("-H 'X-Team: blue-1'"),
                    with("-H 'X-Team: red'"),
                    with(""),
                    with("-H 'X-Team: blue' -H 'X-Team: red'")
                ]
            ),
            "200 403 403 403"
        );
        assert_eq!(
            codes("body: 1KiB", &[with("-d @fits"), with("-d @over"), with("")]),
            "200 403 200"
        );
        let chunked = with("-H 'Transfer-Encoding: chunked' --http1.1 -d @over");
        assert_ne!(codes("body: 1KiB", &[chunked]), "200");
        assert_eq!(
            codes(
                "when: 'context.method == \"POST\" && context.body_size < 5'",
                &[with("-d 1234"), with("-d 12345"), with("")]
            ),
            "200 403 403"
        );
        assert!(
            server
                .got()
                .iter()
                .all(|g| g.header("x-team") != Some("red") && g.body.len() <= 1024)
        );
    });
}

#[test]
fn graphql_operations_and_fields_decide() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test"], "ok");
        let body =
            |text: &str| format!("-H 'Content-Type: application/json' -d '{{\"query\":\"{text}\"}}' {U}");
        let asks = [
            body("{ repository(id: 1) { name } }"),
            body("query Q { repository { a } viewer { b } }"),
            body("mutation { repository { a } }"),
            body("{ alias: repository { a } }"),
            body("{ repository: viewer { a } }"),
            format!("-d 'not graphql' {U}"),
        ];
        let rule = "methods: [POST], graphql: {operations: [query], fields: [repository]}";
        assert_eq!(
            codes(place, tier, &server, rule, &asks),
            "200 403 403 200 403 403"
        );
        assert_eq!(server.got().len(), 2);
    });
}

#[test]
fn mcp_methods_tools_and_arguments_decide_both_ways() {
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test"], |got, wire| {
            let asked: serde_json::Value = serde_json::from_slice(&got.body).unwrap_or_default();
            if asked["method"] == "tools/list" {
                let events = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n\
                    data: {\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"sampling/createMessage\"}\n\n\
                    data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[]}}\n\n";
                return answer(
                    wire,
                    "200 OK",
                    "content-type: text/event-stream\r\n",
                    events.as_bytes(),
                );
            }
            let body = serde_json::json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"said": "done"}});
            answer(
                wire,
                "200 OK",
                "content-type: application/json\r\n",
                body.to_string().as_bytes(),
            )
        });
        let body = |text: &str| {
            format!("-H 'Content-Type: application/json' -d '{{\"jsonrpc\":\"2.0\",\"id\":1,{text}}}' {U}")
        };
        let call = |tool: &str, path: &str| {
            body(&format!(
                "\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\"arguments\":{{\"path\":\"{path}\"}}}}"
            ))
        };
        let asks = [
            body("\"method\":\"tools/list\""),
            call("read_file", "/data/a"),
            call("read_file", "/etc/passwd"),
            call("delete", "/data/a"),
            body("\"method\":\"resources/read\",\"params\":{\"uri\":\"x\"}"),
            format!("-d '{{}}' {U}"),
        ];
        let asks: Vec<&str> = asks.iter().map(String::as_str).collect();
        let rule =
            "methods: [POST], mcp: {methods: [tools/list, tools/call], tools: {'read_*': {path: '/data/*'}}}";
        let lines = ask(place, tier, &server, rule, &asks);
        assert_eq!(lines[..6].join(" "), "200 200 403 403 403 403", "{lines:?}");
        let all = lines.join("\n");
        assert!(
            all.contains("notifications/progress") && all.contains("\"tools\"") && all.contains("done"),
            "{all}"
        );
        assert!(!all.contains("sampling"), "{all}");
        let log = out(&place.qila(&["log", "latest"]).output().unwrap());
        assert!(log.contains("sampling/createMessage"), "{log}");
        assert_eq!(server.got().len(), 2);
    });
}
