//! Conditions of a rule on what the body of a request says.
use super::conditions::{self, MOST};
use super::network::some_of;
use super::reader::{Path, Reader, short};
use super::tree::Node;
use super::{form, keys};
use crate::error::{Contradiction, Problem};
use crate::model::{GraphQlKind, GraphQlRule, McpRule, TextGlob};
use std::collections::BTreeMap;

const KINDS: &[(&str, GraphQlKind)] = &[
    ("query", GraphQlKind::Query),
    ("mutation", GraphQlKind::Mutation),
    ("subscription", GraphQlKind::Subscription),
];

pub(super) fn graphql(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<GraphQlRule> {
    let f = r.fields(node, path, keys::GRAPHQL);
    let operations = some_of(
        r,
        f.get("operations"),
        &path.key("operations"),
        "the list of operations",
        |r, n, p| r.word(n, p, KINDS),
    );
    let fields = globs(r, f.get("fields"), &path.key("fields"), "the list of fields");
    Some(GraphQlRule {
        operations: operations.map(|kinds| kinds.into_iter().collect()),
        fields,
    })
}

pub(super) fn mcp(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<McpRule> {
    let f = r.fields(node, path, keys::MCP);
    let methods = globs(r, f.get("methods"), &path.key("methods"), "the list of methods");
    let tools = f.get("tools").and_then(|n| tools(r, n, &path.key("tools")));
    let server = globs(r, f.get("server"), &path.key("server"), "the list of methods");
    let calls = |methods: &[TextGlob]| methods.iter().any(|g| g.matches("tools/call"));
    if let (Some(methods), Some(entry)) = (&methods, f.entry("tools"))
        && !calls(methods)
    {
        r.problem(entry.key_at, &path.key("tools"), Contradiction::ToolsUncalled);
    }
    Some(McpRule {
        methods,
        tools,
        server: server.unwrap_or_else(McpRule::default_server),
    })
}

fn globs(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    what: &'static str,
) -> Option<Vec<TextGlob>> {
    let found = some_of(r, node, path, what, conditions::glob)?;
    if found.len() > MOST {
        let what = "patterns of one list";
        r.problem(node?.at, path, Problem::TooMany { what, most: MOST });
    }
    Some(found)
}

type Tools = BTreeMap<TextGlob, BTreeMap<String, TextGlob>>;

fn tools(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Tools> {
    let entries = r.entries(node, path);
    let mut out = BTreeMap::new();
    if entries.len() > MOST {
        let what = "tools of one rule";
        r.problem(node.at, path, Problem::TooMany { what, most: MOST });
        return None;
    }
    for entry in entries {
        let own = path.key(&entry.key);
        let Some(glob) = TextGlob::parse(&entry.key).filter(|_| form::condition_name(&entry.key)) else {
            let (text, wanted) = (short(&entry.key), "a pattern of names of tools");
            r.problem(entry.key_at, &own, Problem::Form { text, wanted });
            continue;
        };
        out.insert(glob, conditions::arguments(r, &entry.value, &own));
    }
    if entries.is_empty() && matches!(node.value, super::tree::Value::Map(_)) {
        // Nobody can say whether no tool is meant, or any.
        let what = "the map of tools";
        r.problem(node.at, path, Problem::Empty { what });
    }
    Some(out)
}
