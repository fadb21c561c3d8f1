//! Decisions, one after the other: what a rule asks, what is sent, what comes of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use http::{HeaderMap, HeaderValue};
use qila_authorizer::{
    Access, Authorizer, BodyFacts, GraphQlFacts, Host, HttpFacts, McpFacts, McpKind, Verdict,
};
use qila_policy::model::{GraphQlKind, HostName};
use qila_policy::{Constitution, NoFiles, Permit, parse};

const CREDENTIAL: &str = "credentials: {k: {source: env:K, placement: bearer, hosts: [a.org]}}\n";

fn authorizer(rules: &str) -> Authorizer {
    let credential = if rules.contains("credential") {
        CREDENTIAL
    } else {
        ""
    };
    let text = format!("version: 1\n{credential}network:\n  allow:\n{rules}\n");
    let policy = parse("policy.yaml", &text, &mut NoFiles).unwrap_or_else(|e| panic!("{e}"));
    let whole = Authorizer::compile(&Permit::grant(policy, &Constitution::default()).unwrap()).unwrap();
    assert_eq!(whole.check(), Ok(()), "{}", whole.cedar());
    whole
}

fn ask(whole: &Authorizer, method: &str, path: &str, facts: &HttpFacts<'_>) -> Verdict {
    let host = HostName::parse("a.org").unwrap();
    whole.decide(&Access::Http {
        host: Host::Name(&host),
        port: 443,
        method,
        path,
        facts,
    })
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    map
}

fn call(tool: &str, arguments: &[(&str, &str)]) -> BodyFacts {
    BodyFacts::Mcp(vec![McpFacts {
        kind: McpKind::Request,
        method: "tools/call".to_owned(),
        tool: Some(tool.to_owned()),
        arguments: arguments
            .iter()
            .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
            .collect(),
    }])
}

fn message(kind: McpKind, method: &str) -> BodyFacts {
    BodyFacts::Mcp(vec![McpFacts {
        kind,
        method: method.to_owned(),
        tool: None,
        arguments: Vec::new(),
    }])
}

fn operation(kind: GraphQlKind, fields: &[&str]) -> GraphQlFacts {
    GraphQlFacts {
        kind,
        operation: None,
        fields: fields.iter().map(|f| (*f).to_owned()).collect(),
    }
}

#[test]
fn the_query_and_headers_are_judged_with_the_head() {
    let whole = authorizer(
        "    - {host: a.org, query: {stream: \"true\", page: \"[0-9]*\"}, headers: {content-type: \"application/json*\"}}",
    );
    let json = headers(&[("content-type", "application/json; charset=utf-8")]);
    let twice = headers(&[
        ("content-type", "application/json"),
        ("content-type", "text/html"),
    ]);
    for (query, headers, expected) in [
        (Some("stream=true&page=7"), Some(&json), true),
        (Some("page=7&other=x&stream=tr%75e"), Some(&json), true),
        (Some("stream=true"), Some(&json), false),
        (Some("stream=true&page=x"), Some(&json), false),
        (Some("stream=true&page=7&page=8"), Some(&json), false),
        (Some("stream=true&page=7&Page=8"), Some(&json), false),
        (Some("stream=true&page=7"), Some(&twice), false),
        (Some("stream=true&page=7"), None, false),
        (None, Some(&json), false),
    ] {
        let facts = HttpFacts {
            query,
            headers,
            ..HttpFacts::default()
        };
        let verdict = ask(&whole, "GET", "/x", &facts);
        assert_eq!(
            (verdict.allowed, verdict.needs_body),
            (expected, None),
            "{query:?}: {}",
            verdict.reason
        );
    }
}

#[test]
fn a_size_that_is_not_known_is_bounded_on_the_way() {
    let whole = authorizer("    - {host: a.org, body: 4MiB}");
    for (size, allowed) in [(None, true), (Some(4 << 20), true), (Some((4 << 20) + 1), false)] {
        let facts = HttpFacts {
            body_size: size,
            ..HttpFacts::default()
        };
        let verdict = ask(&whole, "POST", "/", &facts);
        assert_eq!(verdict.allowed, allowed, "{size:?}");
        assert_eq!(verdict.body_limit, allowed.then_some(4 << 20));
    }
}

#[test]
fn graphql_is_decided_when_the_body_is_known() {
    let whole = authorizer(
        "    - {host: a.org, paths: [/graphql], graphql: {operations: [query, mutation], fields: [repository, \"create*\"]}}",
    );
    let facts = HttpFacts::default();
    let first = ask(&whole, "POST", "/graphql", &facts);
    let need = first.needs_body.unwrap();
    assert!(!first.allowed && need.graphql && !need.mcp && need.limit == 1 << 20);
    assert_eq!(ask(&whole, "POST", "/other", &facts).needs_body, None);
    let query = |fields| operation(GraphQlKind::Query, fields);
    for (all, expected) in [
        (vec![query(&["repository"])], true),
        (vec![query(&["repository", "createIssue"])], true),
        (vec![query(&["repository", "viewer"])], false),
        (vec![operation(GraphQlKind::Mutation, &["createIssue"])], true),
        (vec![operation(GraphQlKind::Subscription, &["repository"])], false),
        (vec![query(&[])], false),
        (vec![query(&["repository"]), query(&["viewer"])], false),
        (vec![query(&["repository"]), query(&["createIssue"])], true),
        (vec![], false),
    ] {
        let body = BodyFacts::GraphQl(all);
        let facts = HttpFacts {
            body: Some(&body),
            body_size: Some(100),
            ..HttpFacts::default()
        };
        let verdict = ask(&whole, "POST", "/graphql", &facts);
        assert_eq!(
            (verdict.allowed, verdict.needs_body),
            (expected, None),
            "{body:?}"
        );
    }
    for body in [BodyFacts::None, BodyFacts::Other, call("x", &[])] {
        let facts = HttpFacts {
            body: Some(&body),
            ..HttpFacts::default()
        };
        assert!(!ask(&whole, "POST", "/graphql", &facts).allowed, "{body:?}");
    }
    // Without a body it may stand in the query, and whoever reads it says so.
    let facts = HttpFacts {
        body_size: Some(0),
        query: Some("query={repository{id}}"),
        ..HttpFacts::default()
    };
    assert!(
        ask(&whole, "GET", "/graphql", &facts)
            .needs_body
            .is_some_and(|n| n.graphql)
    );
}

#[test]
fn mcp_is_decided_by_method_tool_and_arguments() {
    let whole = authorizer(
        "    - host: a.org\n      mcp:\n        methods: [initialize, \"notifications/*\", tools/list, tools/call]\n        tools: {search: {}, \"read_*\": {path: \"/data/*\"}, read_log: {path: \"/var/log/*\"}}\n",
    );
    for (body, expected) in [
        (message(McpKind::Request, "initialize"), true),
        (message(McpKind::Notification, "notifications/initialized"), true),
        (message(McpKind::Request, "tools/list"), true),
        (message(McpKind::Request, "resources/read"), false),
        (message(McpKind::Request, "tools/call"), false),
        (message(McpKind::Response, ""), false),
        (call("search", &[]), true),
        (call("search", &[("q", "anything")]), true),
        (call("write", &[]), false),
        (call("read_file", &[("path", "/data/x")]), true),
        (call("read_file", &[("path", "/data/../etc/passwd")]), false),
        (call("read_file", &[("path", "/etc/passwd")]), false),
        (call("read_file", &[]), false),
        (
            call("read_file", &[("path", "/data/x"), ("path", "/etc/passwd")]),
            false,
        ),
        (call("read_log", &[("path", "/var/log/x")]), true),
        (call("read_log", &[("path", "/data/x")]), true),
        (BodyFacts::Other, false),
        (BodyFacts::None, false),
    ] {
        let facts = HttpFacts {
            body: Some(&body),
            body_size: Some(10),
            ..HttpFacts::default()
        };
        let verdict = ask(&whole, "POST", "/mcp", &facts);
        assert_eq!(verdict.allowed, expected, "{body:?}: {}", verdict.reason);
    }
    // A stream is opened and a session ended without a body.
    for (method, expected) in [("GET", true), ("DELETE", true), ("POST", false), ("PUT", false)] {
        let facts = HttpFacts {
            body_size: Some(0),
            ..HttpFacts::default()
        };
        assert_eq!(ask(&whole, method, "/mcp", &facts).allowed, expected, "{method}");
    }
    let refused = HttpFacts {
        body: Some(&call("write", &[])),
        ..HttpFacts::default()
    };
    assert!(
        ask(&whole, "POST", "/mcp", &refused)
            .reason
            .contains("the tool `write`")
    );
}

#[test]
fn a_server_sends_what_the_rule_of_its_stream_lets_it() {
    let whole = authorizer(
        "    - {host: a.org, mcp: {}}\n    - {host: a.org, paths: [/b], mcp: {server: [\"notifications/*\", sampling/createMessage]}}\n    - b.org\n",
    );
    let (a, b) = (
        HostName::parse("a.org").unwrap(),
        HostName::parse("b.org").unwrap(),
    );
    let ask = |host, port, rule, method| {
        let verdict = whole.decide(&Access::McpServer {
            host: Host::Name(host),
            port,
            rule,
            method,
        });
        assert_eq!(verdict.rule, verdict.allowed.then_some(rule));
        verdict.allowed
    };
    assert!(ask(&a, 443, 0, "notifications/progress"));
    assert!(!ask(&a, 443, 0, "sampling/createMessage"));
    assert!(ask(&a, 443, 1, "sampling/createMessage"));
    assert!(!ask(&a, 443, 1, "roots/list"));
    assert!(!ask(&a, 80, 1, "notifications/progress"));
    assert!(!ask(&b, 443, 1, "notifications/progress"), "another host");
    assert!(!ask(&b, 443, 2, "notifications/progress"), "a rule without mcp");
    assert!(!ask(&a, 443, 7, "notifications/progress"), "no such rule");
    // The agent answers where the server may ask, and not elsewhere.
    let body = message(McpKind::Response, "");
    let facts = HttpFacts {
        body: Some(&body),
        ..HttpFacts::default()
    };
    let answer = |path| self::ask(&whole, "POST", path, &facts);
    assert!(!answer("/a").allowed);
    assert_eq!(answer("/b").rule, Some(1));
}

#[test]
fn a_condition_is_part_of_the_rule() {
    let whole = authorizer("    - {host: a.org, when: 'context.body_size < 1000 // small'}");
    let facts = HttpFacts::default();
    let need = ask(&whole, "POST", "/", &facts).needs_body.unwrap();
    assert!(!need.graphql && !need.mcp);
    for (size, expected) in [(0, true), (999, true), (1000, false), (u64::MAX, false)] {
        let facts = HttpFacts {
            body_size: Some(size),
            ..HttpFacts::default()
        };
        let verdict = ask(&whole, "POST", "/", &facts);
        assert_eq!((verdict.allowed, verdict.needs_body), (expected, None), "{size}");
    }
    // Read, and still nobody knows how large: no.
    let facts = HttpFacts {
        body: Some(&BodyFacts::Other),
        ..HttpFacts::default()
    };
    assert!(!ask(&whole, "POST", "/", &facts).allowed);
}

#[test]
fn what_is_unclear_does_not_look_as_if_it_were_not_there() {
    let whole = authorizer(
        "    - {host: a.org, when: '!(context.query has admin) && !(context.headers has \"x-admin\")'}",
    );
    let plain = headers(&[]);
    let twice = headers(&[("x-admin", "1"), ("x-admin", "1")]);
    for (query, headers, expected) in [
        ("", &plain, true),
        ("a=1", &plain, true),
        ("admin=1", &plain, false),
        ("admin=1&admin=1", &plain, false),
        ("Admin=1", &plain, false),
        ("admin=%zz", &plain, false),
        ("a=1;admin=1", &plain, false),
        ("a=1", &twice, false),
    ] {
        let facts = HttpFacts {
            query: Some(query),
            headers: Some(headers),
            ..HttpFacts::default()
        };
        assert_eq!(ask(&whole, "GET", "/", &facts).allowed, expected, "{query}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_denied_whatever_else_allows() {
    let whole = authorizer(
        "    - {host: a.org, when: 'context.body_size * 9223372036854775807 > 0'}\n    - {host: a.org, methods: [GET]}\n",
    );
    for (size, expected) in [(1, true), (2, false)] {
        let facts = HttpFacts {
            body_size: Some(size),
            ..HttpFacts::default()
        };
        let verdict = ask(&whole, "GET", "/", &facts);
        assert_eq!(verdict.allowed, expected, "{}", verdict.reason);
        assert_eq!(verdict.reason.contains("could not be evaluated"), !expected);
    }
}

#[test]
fn rules_are_tried_in_order_and_a_credential_first() {
    let whole = authorizer(
        "    - {host: a.org, methods: [GET]}\n    - {host: a.org, when: 'context.path == \"/x\"'}\n    - {host: a.org, paths: [\"/k/**\"], graphql: {}, credential: k}\n    - {host: a.org, methods: [PUT], paths: [\"/k/**\"]}\n",
    );
    let sized = HttpFacts {
        body_size: Some(9),
        ..HttpFacts::default()
    };
    assert_eq!(ask(&whole, "GET", "/x", &sized).rule, Some(0));
    assert_eq!(ask(&whole, "POST", "/x", &sized).rule, Some(1));
    assert!(
        !ask(&whole, "POST", "/y", &sized).allowed,
        "a condition that does not hold"
    );
    // The rule with the credential comes first, so its body is asked for even where a later rule needs none.
    assert!(ask(&whole, "PUT", "/k/q", &sized).needs_body.is_some());
    let read = |body: &BodyFacts| {
        let facts = HttpFacts {
            body: Some(body),
            ..sized
        };
        let verdict = ask(&whole, "PUT", "/k/q", &facts);
        (verdict.rule, verdict.credential)
    };
    let query = BodyFacts::GraphQl(vec![operation(GraphQlKind::Query, &["a"])]);
    assert_eq!(read(&query), (Some(2), Some(0)));
    assert_eq!(read(&BodyFacts::Other), (Some(3), None));
}

#[test]
fn a_name_is_resolved_and_connected_to_whatever_else_a_rule_asks() {
    let whole =
        authorizer("    - {host: a.org, graphql: {}, query: {a: b}, when: 'context.method == \"GET\"'}");
    let name = HostName::parse("a.org").unwrap();
    assert!(whole.decide(&Access::Resolve { name: &name }).allowed);
    let connect = whole.decide(&Access::Connect {
        host: Host::Name(&name),
        port: 443,
    });
    assert!(connect.allowed && connect.intercept);
}
