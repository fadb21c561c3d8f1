//! The native filter and Cedar say the same, and no condition allows more.
use crate::judge::{self, Answer, Asked};
use crate::{Access, Authorizer, BodyFacts, GraphQlFacts, Host, HttpFacts, McpFacts, McpKind};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use proptest::{collection, option, sample};
use qila_policy::model::{
    Condition, GraphQlKind, GraphQlRule, HostName, HostPattern, McpRule, NetRule, PathGlob, TextGlob,
};
use qila_policy::{Constitution, NoFiles, Permit, parse};
use qila_types::Bytes;
use std::collections::{BTreeMap, BTreeSet};

const GLOBS: &[&str] = &["1", "[0-9]*", "*", "?", "a/*", "a*b", "", "[!1]", "é"];
const TEXTS: &[&str] = &["1", "12", "", "a/b", "a/../b", "ab", "é", "a b"];
const WHENS: &[&str] = &[
    "context.body_size < 6",
    "context.method == \"POST\"",
    "context.query has p && context.query.p like \"1*\"",
    "!(context.query has p)",
    "!(context.headers has \"x-a\")",
    "context.path like \"/a*\" || context.port == 80",
    "context has graphql && context.graphql.kind == \"query\"",
    "context has mcp && context.mcp.arguments has path",
    "context.body == \"none\" || !(context has mcp)",
    "context.body_size * 9223372036854775807 < 6",
];

fn globs() -> impl Strategy<Value = TextGlob> {
    sample::select(GLOBS).prop_map(|g| TextGlob::parse(g).unwrap())
}

fn names(from: &'static [&'static str]) -> impl Strategy<Value = BTreeMap<String, TextGlob>> {
    let name = sample::select(from).prop_map(str::to_owned);
    collection::btree_map(name, globs(), 0..=1)
}

fn list(from: &'static [&'static str]) -> impl Strategy<Value = Vec<TextGlob>> {
    let one = sample::select(from).prop_map(|g| TextGlob::parse(g).unwrap());
    collection::vec(one, 1..3)
}

fn graphql() -> impl Strategy<Value = GraphQlRule> {
    let kinds = collection::btree_set(sample::select(&GraphQlKind::ALL[..]), 1..3);
    let fields = list(&["a", "b", "a*", "[ab]", "*"]);
    (option::of(kinds), option::of(fields))
        .prop_map(|(operations, fields)| GraphQlRule { operations, fields })
}

fn mcp() -> impl Strategy<Value = McpRule> {
    let methods = list(&["tools/call", "tools/*", "notifications/*", "t?ols/list", "*"]);
    let tools = collection::btree_map(
        sample::select(&["read", "read_*", "[rw]*"][..]).prop_map(|g| TextGlob::parse(g).unwrap()),
        names(&["path", "n"]),
        1..3,
    );
    let server = list(&["notifications/*", "sampling/createMessage", "[s]*"]);
    (option::of(methods), option::of(tools), server).prop_map(|(methods, tools, server)| McpRule {
        methods,
        tools,
        server,
    })
}

/// Conditions as a policy gives them, by their place in [`WHENS`].
fn condition(at: usize) -> Condition {
    let text = format!(
        "version: 1\nnetwork: {{allow: [{{host: a.org, when: '{}'}}]}}\n",
        WHENS[at]
    );
    let policy = parse("p", &text, &mut NoFiles).unwrap_or_else(|e| panic!("{e}"));
    policy.network.allow[0].when.clone().unwrap()
}

prop_compose! {
    fn rules()(
        methods in option::of(collection::btree_set(sample::select(&["GET", "POST", "DELETE"][..]), 1..3)),
        paths in option::of(collection::vec(sample::select(&["/a/*", "/**", "/a/b", "/a*"][..]), 1..3)),
        query in names(&["p", "q"]),
        headers in names(&["x-a", "x-b"]),
        body in option::of(0u64..10),
        graphql in option::weighted(0.3, graphql()),
        mcp in option::weighted(0.4, mcp()),
        when in option::weighted(0.3, 0..WHENS.len()),
    ) -> NetRule {
        NetRule {
            methods: methods.map(|m: BTreeSet<_>| m.into_iter().map(str::to_owned).collect()),
            paths: paths.map(|p| p.into_iter().map(|p| PathGlob(p.to_owned())).collect()),
            query,
            headers,
            body: body.map(Bytes),
            mcp: mcp.filter(|_| graphql.is_none()),
            graphql,
            when: when.map(condition),
            ..NetRule::to(HostPattern::parse("a.org").unwrap())
        }
    }
}

/// A request that owns what it is made of.
#[derive(Debug, Clone)]
struct Sent {
    method: &'static str,
    path: &'static str,
    query: String,
    headers: HeaderMap,
    size: Option<u64>,
    body: Option<BodyFacts>,
}

impl Sent {
    fn facts(&self) -> HttpFacts<'_> {
        HttpFacts {
            query: Some(&self.query),
            headers: Some(&self.headers),
            body_size: self.size,
            body: self.body.as_ref(),
        }
    }
}

fn bodies() -> impl Strategy<Value = BodyFacts> {
    let field = sample::select(&["a", "b", "ab"][..]).prop_map(str::to_owned);
    let operation = (
        sample::select(&GraphQlKind::ALL[..]),
        option::of(Just("Named".to_owned())),
        collection::vec(field, 0..3),
    )
        .prop_map(|(kind, operation, fields)| GraphQlFacts {
            kind,
            operation,
            fields,
        });
    let argument = (
        sample::select(&["path", "n"][..]).prop_map(str::to_owned),
        sample::select(TEXTS).prop_map(str::to_owned),
    );
    let message = (
        sample::select(&[McpKind::Request, McpKind::Notification, McpKind::Response][..]),
        sample::select(&["tools/call", "tools/list", "notifications/x", ""][..]),
        option::of(sample::select(&["read", "read_x", "write"][..])),
        collection::vec(argument, 0..3),
    )
        .prop_map(|(kind, method, tool, arguments)| McpFacts {
            kind,
            method: method.to_owned(),
            tool: tool.map(str::to_owned),
            arguments,
        });
    prop_oneof![
        Just(BodyFacts::None),
        Just(BodyFacts::Other),
        collection::vec(operation, 0..3).prop_map(BodyFacts::GraphQl),
        collection::vec(message, 0..3).prop_map(BodyFacts::Mcp),
    ]
}

prop_compose! {
    fn requests()(
        method in sample::select(&["GET", "POST", "DELETE", "PUT"][..]),
        path in sample::select(&["/a/b", "/a", "/%61/b", "/b", "/a/b/c"][..]),
        query in collection::vec(sample::select(&["p=1", "p=12", "q=a/b", "q=a/../b", "p=%31", "P=1", "p=1;q=1", "q=+", "q=%zz", "q", "p=a*b", "%zz=1"][..]), 0..3),
        headers in collection::vec((sample::select(&["x-a", "x-b"][..]), sample::select(TEXTS)), 0..3),
        size in option::of(0u64..12),
        body in option::weighted(0.8, bodies()),
    ) -> Sent {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Sent { method, path, query: query.join("&"), headers: map, size, body }
    }
}

fn authorizer(rules: Vec<NetRule>) -> Authorizer {
    let mut policy = parse("p", "version: 1\n", &mut NoFiles).unwrap();
    policy.network.allow = rules;
    Authorizer::compile(&Permit::grant(policy, &Constitution::default()).unwrap()).unwrap()
}

fn allowed(rule: &NetRule, sent: &Sent) -> bool {
    let host = HostName::parse("a.org").unwrap();
    let facts = sent.facts();
    let access = Access::Http {
        host: Host::Name(&host),
        port: 443,
        method: sent.method,
        path: sent.path,
        facts: &facts,
    };
    authorizer(vec![rule.clone()]).decide(&access).allowed
}

/// Every way to ask one thing less.
fn looser(rule: &NetRule) -> Vec<NetRule> {
    let less = |change: fn(&mut NetRule)| {
        let mut less = rule.clone();
        change(&mut less);
        less
    };
    vec![
        less(|r| r.methods = None),
        less(|r| r.paths = None),
        less(|r| r.query.clear()),
        less(|r| r.headers.clear()),
        less(|r| r.body = None),
        less(|r| r.graphql = None),
        less(|r| r.mcp = None),
        less(|r| r.when = None),
        less(|r| r.mcp.iter_mut().for_each(|m| m.tools = None)),
        less(|r| r.mcp.iter_mut().for_each(|m| m.methods = None)),
        less(|r| r.graphql.iter_mut().for_each(|g| g.fields = None)),
        less(|r| r.graphql.iter_mut().for_each(|g| g.operations = None)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn cedar_says_what_the_filter_says(mut rule in rules(), sent in requests()) {
        rule.when = None;
        let host = HostName::parse("a.org").unwrap();
        let facts = sent.facts();
        let access = Access::Http {
            host: Host::Name(&host), port: 443, method: sent.method, path: sent.path, facts: &facts,
        };
        let asked = Asked::of(&access);
        let native = judge::rule(&rule, &asked);
        let whole = authorizer(vec![rule]);
        let cedar = whole.engine.ask(&whole.policy, 0, None, &access, &asked).unwrap();
        match native {
            Answer::Yes => prop_assert!(cedar),
            Answer::No => prop_assert!(!cedar),
            // What was not read is in no context, so that Cedar allows nothing either.
            Answer::Body(_) => prop_assert!(!cedar),
        }
    }

    #[test]
    fn no_condition_allows_more(rule in rules(), sent in requests()) {
        if allowed(&rule, &sent) {
            for less in looser(&rule) {
                // A body that need not be read is not asked for; one that must be was given.
                prop_assert!(allowed(&less, &sent), "{:?}", less);
            }
        }
    }

    #[test]
    fn a_message_of_a_server_is_decided_alike(rule in mcp(), method in sample::select(&["notifications/x", "sampling/createMessage", "ping", "s", ""][..])) {
        let host = HostName::parse("a.org").unwrap();
        let rule = NetRule { mcp: Some(rule), ..NetRule::to(HostPattern::parse("a.org").unwrap()) };
        let access = Access::McpServer { host: Host::Name(&host), port: 443, rule: 0, method };
        let native = crate::body::from_server(rule.mcp.as_ref().unwrap(), method);
        let whole = authorizer(vec![rule]);
        let cedar = whole.engine.ask(&whole.policy, 0, None, &access, &Asked::Other).unwrap();
        prop_assert_eq!(native, cedar);
        prop_assert_eq!(native, whole.decide(&access).allowed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn every_rule_validates(rules in collection::vec(rules(), 1..6)) {
        let whole = authorizer(rules);
        prop_assert_eq!(whole.check(), Ok(()));
        prop_assert!(whole.cedar().contains("permit"));
    }
}
