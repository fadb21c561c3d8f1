//! Whether what a body says meets a rule.
use crate::facts::{BodyFacts, GraphQlFacts, McpFacts, McpKind};
use qila_policy::cedar::MCP_WITHOUT_BODY;
use qila_policy::model::{GraphQlRule, McpRule, NetRule, TextGlob};

/// Whether a body meets what a rule asks of GraphQL and MCP.
pub(crate) fn meets(rule: &NetRule, method: &str, body: &BodyFacts) -> bool {
    let graphql = rule.graphql.as_ref().is_none_or(|rule| match body {
        BodyFacts::GraphQl(all) => !all.is_empty() && all.iter().all(|one| operation(rule, one)),
        _ => false,
    });
    let mcp = rule.mcp.as_ref().is_none_or(|rule| match body {
        BodyFacts::Mcp(all) => !all.is_empty() && all.iter().all(|one| message(rule, one)),
        BodyFacts::None => MCP_WITHOUT_BODY.contains(&method),
        _ => false,
    });
    graphql && mcp
}

fn operation(rule: &GraphQlRule, facts: &GraphQlFacts) -> bool {
    rule.operations
        .as_ref()
        .is_none_or(|kinds| kinds.contains(&facts.kind))
        && rule.fields.as_ref().is_none_or(|globs| fields(globs, facts))
}

/// Whether every root field matches one of the patterns.
pub(crate) fn fields(globs: &[TextGlob], facts: &GraphQlFacts) -> bool {
    let named = |field: &String| globs.iter().any(|g| g.matches(field));
    !facts.fields.is_empty() && facts.fields.iter().all(named)
}

fn message(rule: &McpRule, facts: &McpFacts) -> bool {
    if facts.kind == McpKind::Response {
        return rule.answers();
    }
    let method = rule
        .methods
        .as_ref()
        .is_none_or(|globs| globs.iter().any(|g| g.matches(&facts.method)));
    let Some(tools) = rule.tools.as_ref().filter(|_| facts.method == "tools/call") else {
        return method;
    };
    let Some(tool) = &facts.tool else { return false };
    let allowed = tools.iter().any(|(glob, arguments)| {
        glob.matches(tool)
            && arguments
                .iter()
                .all(|(name, glob)| argument(facts, name).is_some_and(|text| glob.matches_value(text)))
    });
    method && allowed
}

/// The text of an argument that is there once.
pub(crate) fn argument<'a>(facts: &'a McpFacts, name: &str) -> Option<&'a str> {
    let mut all = facts.arguments.iter().filter(|(n, _)| n == name);
    match (all.next(), all.next()) {
        (Some((_, text)), None) => Some(text),
        _ => None,
    }
}

/// Whether a server may send a message with this method.
pub(crate) fn from_server(rule: &McpRule, method: &str) -> bool {
    rule.server.iter().any(|g| g.matches(method))
}

/// Whether a name that a condition looks at stands twice among the arguments of some message.
pub(crate) fn unclear<'a>(body: &BodyFacts, mut names: impl Iterator<Item = &'a String>) -> bool {
    let BodyFacts::Mcp(all) = body else { return false };
    names.any(|name| {
        all.iter()
            .any(|one| one.arguments.iter().filter(|(n, _)| n == name).count() > 1)
    })
}
