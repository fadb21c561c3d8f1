//! One rule of `network.allow`.
use super::draft::RuleMarks;
use super::network::{host, rate, some_of};
use super::reader::{Fields, Path, Reader};
use super::tree::{Node, Value};
use super::{body, conditions, form, keys, resources};
use crate::error::Problem;
use crate::model::{NetRule, PathGlob};

/// Where a rule is reached when it names no port.
const DEFAULT_PORT: u16 = 443;

/// A rule, short or long, and where its parts stand.
pub(super) fn rule(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<(NetRule, RuleMarks)> {
    let mut marks = RuleMarks {
        credential: node.at,
        query: Vec::new(),
        headers: Vec::new(),
        when: node.at,
    };
    if !matches!(node.value, Value::Map(_)) {
        return Some((NetRule::to(host(r, node, path)?), marks));
    }
    let before = r.diagnostics.len();
    let f = r.fields(node, path, keys::RULE);
    let host = match f.get("host") {
        Some(node) => host(r, node, &path.key("host")),
        None => {
            r.problem(f.at, path, Problem::Missing { key: "host" });
            None
        }
    };
    let ports = ports(r, &f, path);
    let methods = some_of(
        r,
        f.get("methods"),
        &path.key("methods"),
        "the list of methods",
        |r, n, p| r.form(n, p, "an HTTP method in upper case, such as `GET`", form::method),
    );
    let paths = some_of(
        r,
        f.get("paths"),
        &path.key("paths"),
        "the list of paths",
        |r, n, p| {
            let wanted = "a path such as `/v1/**`: it starts with `/`, without `..`, `?`, `#` or `%`, and `**` is a whole part";
            r.form(n, p, wanted, form::path_glob).map(PathGlob)
        },
    );
    let (query, at) = conditions::query(r, f.get("query"), &path.key("query"));
    marks.query = at;
    let (headers, at) = conditions::headers(r, f.get("headers"), &path.key("headers"));
    marks.headers = at;
    let size = f
        .get("body")
        .and_then(|n| resources::size(r, n, &path.key("body")));
    let graphql = f
        .get("graphql")
        .and_then(|n| body::graphql(r, n, &path.key("graphql")));
    let mcp = f.get("mcp").and_then(|n| body::mcp(r, n, &path.key("mcp")));
    if let (Some(_), Some(other)) = (f.entry("graphql"), f.entry("mcp")) {
        let (one, name) = ("graphql", "mcp");
        r.problem(other.key_at, path, Problem::Exclusive { one, other: name });
    }
    let credential = f.get("credential").and_then(|n| {
        let wanted = "a name of a credential";
        r.form(n, &path.key("credential"), wanted, form::credential_name)
    });
    let rate = f.get("rate").and_then(|n| rate(r, n, &path.key("rate")));
    if let Some(node) = f.get("credential") {
        marks.credential = node.at;
    }
    let mut rule = NetRule {
        ports,
        methods,
        paths,
        query,
        headers,
        body: size,
        graphql,
        mcp,
        credential,
        rate,
        ..NetRule::to(host?)
    };
    if let Some(node) = f.get("when") {
        marks.when = node.at;
        // A condition is compiled with the rule that it belongs to: with a wrong one, its error would be about that.
        if r.diagnostics.len() == before {
            rule.when = conditions::when(r, node, &path.key("when"), &rule);
        }
    }
    Some((rule, marks))
}

fn ports(r: &mut Reader<'_>, f: &Fields<'_>, path: &Path<'_>) -> Vec<u16> {
    let port = |r: &mut Reader<'_>, n: &Node, p: &Path<'_>| {
        r.number(n, p, 1, 65_535).and_then(|v| u16::try_from(v).ok())
    };
    match (f.entry("port"), f.get("ports")) {
        (None, None) => vec![DEFAULT_PORT],
        (Some(one), Some(_)) => {
            r.problem(
                one.key_at,
                path,
                Problem::Exclusive {
                    one: "port",
                    other: "ports",
                },
            );
            Vec::new()
        }
        (Some(one), None) => port(r, &one.value, &path.key("port")).into_iter().collect(),
        (None, Some(list)) => {
            let found = some_of(r, Some(list), &path.key("ports"), "the list of ports", port);
            let mut ports = found.unwrap_or_default();
            ports.sort_unstable();
            ports.dedup();
            ports
        }
    }
}
