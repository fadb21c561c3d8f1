//! Whether one rule allows all that another does. What cannot be said for certain counts as no.
use super::glob::{PathGlob, TextGlob};
use super::rule::{GraphQlRule, McpRule, NetRule};
use std::collections::BTreeMap;

impl NetRule {
    /// Whether everything that `other` allows is allowed by this rule, and at no higher rate. Patterns are compared by what they
    /// certainly say: a pattern covers itself and a text that it matches, `*` covers everything.
    pub fn covers(&self, other: &NetRule) -> bool {
        self.host.covers(&other.host)
            && other.ports.iter().all(|p| self.ports.contains(p))
            && subset(&self.methods, &other.methods, |own, m| own == m)
            && subset(&self.paths, &other.paths, path)
            && conditions(&self.query, &other.query)
            && conditions(&self.headers, &other.headers)
            && self.graphql.as_ref().is_none_or(|own| other.graphql.as_ref().is_some_and(|o| graphql(own, o)))
            && self.mcp.as_ref().is_none_or(|own| other.mcp.as_ref().is_some_and(|o| mcp(own, o)))
            // Which condition implies which is a question for a solver.
            && self.when.as_ref().is_none_or(|own| other.when.as_ref() == Some(own))
            // Another credential would be sent where this one may be.
            && (other.credential.is_none() || self.credential == other.credential)
            && self.rate.is_none_or(|own| other.rate.is_some_and(|o| slower(o, own)))
            && match (self.body_bound(), other.body_bound()) {
                (Some(own), Some(bound)) => bound <= own,
                (own, _) => own.is_none(),
            }
    }
}

/// Whether a rate is never exceeded by what keeps within another.
fn slower(one: qila_types::Rate, than: qila_types::Rate) -> bool {
    let per = |r: qila_types::Rate, window: u64| u128::from(r.count) * u128::from(window);
    per(one, than.per.0) <= per(than, one.per.0) && one.at_once() <= than.at_once()
}

/// Whether every item of the other's list is covered by some item of one's own; no list is everything.
fn subset<T>(own: &Option<Vec<T>>, other: &Option<Vec<T>>, covers: impl Fn(&T, &T) -> bool) -> bool {
    match (own, other) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(own), Some(other)) => other.iter().all(|o| own.iter().any(|w| covers(w, o))),
    }
}

fn path(own: &PathGlob, other: &PathGlob) -> bool {
    if own == other || own.0 == "/**" {
        return true;
    }
    // `/v1/**` covers whatever begins with the plain segments before it.
    let Some(head) = own.0.strip_suffix("/**").filter(|h| !h.contains('*')) else {
        return false;
    };
    other.0 == head
        || other
            .0
            .strip_prefix(head)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a pattern over a text covers another.
fn text(own: &TextGlob, other: &TextGlob) -> bool {
    own == other
        || own.as_str() == "*"
        || (other.is_literal() && own.matches(other.as_str()))
        || prefix(own, other)
}

/// `ab*` covers `abc*`.
fn prefix(own: &TextGlob, other: &TextGlob) -> bool {
    let head = own.as_str().strip_suffix('*');
    let head = head.filter(|h| !h.contains(['*', '?', '[']));
    // A pattern about a path asks more of a value than its text: then the other must be about one as well.
    head.is_some_and(|head| other.as_str().starts_with(head)) && (!own.is_path() || other.is_path())
}

/// Whether every condition of one's own is one of the other's, or looser.
fn conditions(own: &BTreeMap<String, TextGlob>, other: &BTreeMap<String, TextGlob>) -> bool {
    own.iter()
        .all(|(name, glob)| other.get(name).is_some_and(|o| value(glob, o)))
}

/// Over a value that may be used as a path, a literal that climbs matches nothing of a pattern about one.
fn value(own: &TextGlob, other: &TextGlob) -> bool {
    text(own, other) && (!other.is_literal() || own.matches_value(other.as_str()) || own == other)
}

fn graphql(own: &GraphQlRule, other: &GraphQlRule) -> bool {
    let kinds = match (&own.operations, &other.operations) {
        (None, _) => true,
        (Some(own), Some(other)) => other.is_subset(own),
        (Some(_), None) => false,
    };
    kinds && subset(&own.fields, &other.fields, text)
}

fn mcp(own: &McpRule, other: &McpRule) -> bool {
    let tools = match (&own.tools, &other.tools) {
        (None, _) => true,
        (Some(own), Some(other)) => other.iter().all(|(tool, arguments)| {
            own.iter()
                .any(|(glob, asked)| text(glob, tool) && conditions(asked, arguments))
        }),
        (Some(_), None) => false,
    };
    tools
        && subset(&own.methods, &other.methods, text)
        && other.server.iter().all(|o| own.server.iter().any(|w| text(w, o)))
        && (own.answers() || !other.answers())
}

#[cfg(test)]
mod tests {
    use crate::model::NetRule;
    use crate::{NoFiles, parse};

    fn rule(text: &str) -> NetRule {
        let credential = "credentials: {k: {source: env:K, placement: bearer, hosts: [a.org]}}";
        let credential = if text.contains("credential") {
            credential
        } else {
            ""
        };
        let file = format!("version: 1\n{credential}\nnetwork: {{allow: [{{{text}}}]}}\n");
        let policy = parse("p", &file, &mut NoFiles).unwrap_or_else(|e| panic!("{e}"));
        policy.network.allow.into_iter().next().unwrap()
    }

    #[test]
    fn a_rule_covers_what_asks_more() {
        for (own, other, expected) in [
            ("host: \"*.a.org\"", "host: x.a.org", true),
            ("host: a.org", "host: b.org", false),
            ("host: a.org", "host: a.org, port: 80", false),
            ("host: a.org, ports: [80, 443]", "host: a.org", true),
            (
                "host: a.org, methods: [GET, POST]",
                "host: a.org, methods: [GET]",
                true,
            ),
            ("host: a.org, methods: [GET]", "host: a.org", false),
            (
                "host: a.org, paths: [\"/v1/**\"]",
                "host: a.org, paths: [/v1/x, /v1]",
                true,
            ),
            (
                "host: a.org, paths: [\"/v1/**\"]",
                "host: a.org, paths: [/v10]",
                false,
            ),
            (
                "host: a.org, paths: [\"/v1/*\"]",
                "host: a.org, paths: [\"/v1/**\"]",
                false,
            ),
            (
                "host: a.org, query: {a: \"1*\"}",
                "host: a.org, query: {a: \"12\", b: x}",
                true,
            ),
            (
                "host: a.org, query: {a: \"1*\"}",
                "host: a.org, query: {a: \"1?*\"}",
                true,
            ),
            (
                "host: a.org, query: {a: \"1*\"}",
                "host: a.org, query: {a: \"*\"}",
                false,
            ),
            ("host: a.org, query: {a: \"1*\"}", "host: a.org", false),
            (
                "host: a.org, query: {a: \"/d/*\"}",
                "host: a.org, query: {a: /d/../e}",
                false,
            ),
            ("host: a.org, body: 1MiB", "host: a.org, body: 2MiB", false),
            ("host: a.org, body: 2MiB", "host: a.org, graphql: {}", true),
            ("host: a.org, body: 1KiB", "host: a.org, graphql: {}", false),
            (
                "host: a.org, graphql: {}",
                "host: a.org, graphql: {}, body: 2MiB",
                false,
            ),
            (
                "host: a.org, graphql: {operations: [query]}",
                "host: a.org, graphql: {}",
                false,
            ),
            (
                "host: a.org, graphql: {fields: [\"a*\"]}",
                "host: a.org, graphql: {fields: [ab]}",
                true,
            ),
            (
                "host: a.org, mcp: {tools: {\"r*\": {p: \"/d/*\"}}}",
                "host: a.org, mcp: {tools: {rx: {p: /d/x, q: y}}}",
                true,
            ),
            (
                "host: a.org, mcp: {tools: {\"r*\": {p: \"/d/*\"}}}",
                "host: a.org, mcp: {tools: {rx: {}}}",
                false,
            ),
            (
                "host: a.org, mcp: {}",
                "host: a.org, mcp: {server: [\"*\"]}",
                false,
            ),
            ("host: a.org, mcp: {}", "host: a.org", false),
            (
                "host: a.org, when: 'context.port == 443'",
                "host: a.org, when: 'context.port == 443'",
                true,
            ),
            ("host: a.org, when: 'context.port == 443'", "host: a.org", false),
            ("host: a.org", "host: a.org, credential: k", false),
            ("host: a.org, credential: k", "host: a.org, credential: k", true),
            ("host: a.org, rate: 60/min", "host: a.org, rate: 1/s", true),
            ("host: a.org, rate: 60/min", "host: a.org, rate: 61/min", false),
            (
                "host: a.org, rate: {limit: 60/min, burst: 5}",
                "host: a.org, rate: 60/min",
                false,
            ),
            ("host: a.org, rate: 60/min", "host: a.org", false),
        ] {
            assert_eq!(rule(own).covers(&rule(other)), expected, "{own} / {other}");
            assert!(rule(own).covers(&rule(own)), "{own}");
        }
    }
}
