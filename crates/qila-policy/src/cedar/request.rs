//! What a rule asks of a request, and of a message that a server sends, as Cedar conditions.
use super::{any, matched, quoted, set, target};
use crate::model::{GraphQlRule, McpRule, NetRule, TextGlob};

/// The HTTP methods with which an MCP client opens a stream and ends a session; they have no body.
pub const MCP_WITHOUT_BODY: [&str; 2] = ["GET", "DELETE"];

fn contains(key: &str) -> String {
    format!("context.matched.contains({})", quoted(key))
}

/// All that must hold for a request.
pub(super) fn conditions(rule: &NetRule) -> String {
    let mut all = vec![target(rule)];
    if let Some(methods) = &rule.methods {
        let methods = set(methods.iter().map(|m| quoted(m)));
        all.push(format!("{methods}.contains(context.method)"));
    }
    if let Some(paths) = &rule.paths {
        let globs = set(paths.iter().map(|g| quoted(&g.0)));
        all.push(format!("context.globs.containsAny({globs})"));
    }
    for (name, glob) in &rule.query {
        all.push(value("context.query", name, glob, &matched::query(name, glob)));
    }
    for (name, glob) in &rule.headers {
        let own = quoted(name);
        all.push(match matched::is_plain_like(glob) {
            true => format!(
                "context.headers has {own} && context.headers[{own}] like {}",
                like(glob)
            ),
            false => contains(&matched::header(name, glob)),
        });
    }
    if let Some(body) = rule.body_bound() {
        let most = i64::try_from(body.0).unwrap_or(i64::MAX);
        // A size that is not known before the end is bounded by the gateway on the way.
        all.push(format!(
            "(if context has body_size then context.body_size <= {most} else true)"
        ));
    }
    if let Some(graphql) = &rule.graphql {
        all.push(operation(graphql));
    }
    if let Some(mcp) = &rule.mcp {
        all.push(agent(mcp));
    }
    if let Some(when) = &rule.when {
        if when.reads().body_size {
            all.push("context has body_size".to_owned());
        }
        // On lines of its own: it may end in a comment.
        all.push(format!("(\n{}\n)", when.as_str()));
    }
    all.join(" && ")
}

fn like(glob: &TextGlob) -> String {
    quoted(glob.as_str())
}

/// A value that may be used as a path.
fn value(of: &str, name: &str, glob: &TextGlob, key: &str) -> String {
    let name = quoted(name);
    match matched::is_like(glob) {
        true => format!("{of} has {name} && {of}[{name}] like {}", like(glob)),
        false => contains(key),
    }
}

fn operation(rule: &GraphQlRule) -> String {
    let mut all = vec!["context has graphql".to_owned()];
    if let Some(kinds) = &rule.operations {
        let kinds = set(kinds.iter().map(|k| quoted(k.as_str())));
        all.push(format!("{kinds}.contains(context.graphql.kind)"));
    }
    if let Some(globs) = &rule.fields {
        all.push(match globs.iter().all(TextGlob::is_literal) {
            true => {
                let names = set(globs.iter().map(|g| quoted(g.as_str())));
                format!("!context.graphql.fields.isEmpty() && {names}.containsAll(context.graphql.fields)")
            }
            false => contains(&matched::fields(globs)),
        });
    }
    all.join(" && ")
}

/// What the agent may send.
fn agent(rule: &McpRule) -> String {
    let mut call = vec!["context.mcp.kind != \"response\"".to_owned()];
    if let Some(globs) = &rule.methods {
        call.push(any(globs
            .iter()
            .map(|g| name("context.mcp.method", g, &matched::method(g)))));
    }
    if let Some(tools) = &rule.tools {
        let tools = any(tools.iter().map(|(glob, arguments)| {
            let mut all = vec![name("context.mcp.tool", glob, &matched::tool(glob))];
            for (argument, glob) in arguments {
                let key = matched::argument(argument, glob);
                all.push(value("context.mcp.arguments", argument, glob, &key));
            }
            all.join(" && ")
        }));
        call.push(format!(
            "(context.mcp.method != \"tools/call\" || (context.mcp has tool && {tools}))"
        ));
    }
    let call = call.join(" && ");
    let message = match rule.answers() {
        true => format!("(({call}) || context.mcp.kind == \"response\")"),
        false => format!("({call})"),
    };
    let without = set(MCP_WITHOUT_BODY.iter().map(|m| quoted(m)));
    format!(
        "((context has mcp && {message}) || (context.body == \"none\" && {without}.contains(context.method)))"
    )
}

fn name(place: &str, glob: &TextGlob, key: &str) -> String {
    match matched::is_plain_like(glob) {
        true => format!("{place} like {}", like(glob)),
        false => contains(key),
    }
}

/// What a server may send to the agent; none where the rule is not about MCP.
pub(super) fn message(rule: &NetRule) -> Option<String> {
    let mcp = rule.mcp.as_ref()?;
    let methods = any(mcp
        .server
        .iter()
        .map(|g| name("context.method", g, &matched::method(g))));
    Some(format!("{} && {methods}", target(rule)))
}
