//! How long a decision takes over 1,000 rules: `cargo run --release -p qila-authorizer --example decide`.
//!
//! Prints, for each kind of access, the median and the 99th percentile of one decision in microseconds, after a warm-up in which
//! Cedar compiled the slices; and the first decision of all, which compiles its own.
use http::{HeaderMap, HeaderValue};
use qila_authorizer::{Access, Authorizer, BodyFacts, Host, HttpFacts, McpFacts, McpKind};
use qila_policy::model::HostName;
use qila_policy::{Constitution, NoFiles, Permit, parse};
use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

const RULES: usize = 1_000;
const ROUNDS: usize = 20_000;

/// A thousand rules: half of them for hosts of their own, the other half all for one host, told apart by their paths; among these
/// every kind of condition.
fn text() -> Result<String, std::fmt::Error> {
    let mut text = String::from("version: 1\nnetwork:\n  allow:\n");
    for n in 0..RULES / 2 {
        writeln!(text, "    - {{host: h{n}.example.org, methods: [GET, POST]}}")?;
    }
    for n in 0..RULES / 2 - 3 {
        let more = match n % 5 {
            0 => "query: {page: \"[0-9]*\"}",
            1 => "headers: {content-type: \"application/json*\"}",
            2 => "body: 1MiB",
            3 => "graphql: {operations: [query], fields: [\"a*\"]}",
            _ => "mcp: {tools: {\"read_*\": {path: \"/data/*\"}}}",
        };
        writeln!(
            text,
            "    - {{host: api.example.org, methods: [GET, POST], paths: [\"/v1/r{n}/**\"], {more}}}"
        )?;
    }
    text += "    - {host: api.example.org, paths: [\"/when/**\"], when: 'context.query has page && context.query.page like \"1*\" && context.body_size < 1000'}\n";
    text +=
        "    - {host: api.example.org, paths: [\"/mcp\"], mcp: {tools: {\"read_*\": {path: \"/data/*\"}}}}\n";
    text += "    - {host: api.example.org, paths: [\"/plain/**\"], query: {page: \"[0-9]*\"}, headers: {content-type: \"application/json*\"}, body: 1MiB}\n";
    Ok(text)
}

fn main() -> Result<(), Box<dyn Error>> {
    let policy = parse("policy.yaml", &text()?, &mut NoFiles)?;
    assert_eq!(policy.network.allow.len(), RULES);
    let whole = Authorizer::compile(&Permit::grant(policy, &Constitution::default())?)?;
    let name = |text: &str| HostName::parse(text).ok_or("no name");
    let (own, api, other) = (
        name("h250.example.org")?,
        name("api.example.org")?,
        name("x.evil.org")?,
    );
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let head = HttpFacts {
        query: Some("page=12&other=x"),
        headers: Some(&headers),
        body_size: Some(400),
        body: None,
    };
    let body = BodyFacts::Mcp(vec![McpFacts {
        kind: McpKind::Request,
        method: "tools/call".to_owned(),
        tool: Some("read_file".to_owned()),
        arguments: vec![("path".to_owned(), "/data/x".to_owned())],
    }]);
    let read = HttpFacts {
        body: Some(&body),
        ..head
    };
    let http = |host, path, facts| Access::Http {
        host: Host::Name(host),
        port: 443,
        method: "POST",
        path,
        facts,
    };
    let connect = Access::Connect {
        host: Host::Name(&own),
        port: 443,
    };
    println!(
        "{:<44}{:>9}{:>9}{:>9}",
        "access, of 1,000 rules", "first µs", "p50 µs", "p99 µs"
    );
    for (what, access, allowed) in [
        ("look-up, a host of its own", Access::Resolve { name: &own }, true),
        ("connection, a host of its own", connect, true),
        ("request, a host of its own", http(&own, "/v1/x", &head), true),
        (
            "request, one of 500 rules of a host",
            http(&api, "/plain/x", &head),
            true,
        ),
        (
            "request, `when`, one of 500 rules",
            http(&api, "/when/x", &head),
            true,
        ),
        (
            "MCP, the head, one of 500 rules",
            http(&api, "/mcp", &head),
            false,
        ),
        ("MCP, the body, one of 500 rules", http(&api, "/mcp", &read), true),
        (
            "request, denied by all 500 rules",
            http(&api, "/none/x", &head),
            false,
        ),
        ("request, a host of no rule", http(&other, "/", &head), false),
    ] {
        let time = || {
            let start = Instant::now();
            let verdict = black_box(whole.decide(black_box(&access)));
            (start.elapsed().as_secs_f64() * 1e6, verdict)
        };
        let (first, verdict) = time();
        assert_eq!(verdict.allowed, allowed, "{what}: {}", verdict.reason);
        let mut times: Vec<f64> = (0..ROUNDS).map(|_| time().0).collect();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| {
            times
                .get((ROUNDS as f64 * share) as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        println!("{what:<44}{first:>9.1}{:>9.1}{:>9.1}", at(0.5), at(0.99));
    }
    Ok(())
}
