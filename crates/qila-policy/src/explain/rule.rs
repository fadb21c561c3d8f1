//! What one rule lets the agent do.
use super::list;
use crate::model::{GraphQlRule, HostPattern, McpRule, NetRule, TextGlob};

/// A host in words.
pub(super) fn host(host: &HostPattern) -> String {
    match host {
        HostPattern::Beneath(name) => format!("every host beneath {name}"),
        other => other.to_string(),
    }
}

/// What a rule allows, as the end of a sentence that begins with "can".
pub(super) fn reach(rule: &NetRule) -> String {
    let methods = match &rule.methods {
        Some(methods) => format!("send {} requests to", list(methods)),
        None => "connect to".to_owned(),
    };
    let ports = if rule.ports.len() == 1 { "port" } else { "ports" };
    let mut text = format!("{methods} {} on {ports} {}", host(&rule.host), list(&rule.ports));
    if let Some(paths) = &rule.paths {
        text += &format!(", paths {}", list(paths));
    }
    let named = |(name, glob): (&String, &TextGlob)| format!("{name} = {glob}");
    if !rule.query.is_empty() {
        let all: Vec<String> = rule.query.iter().map(named).collect();
        text += &format!(", only with the query parameters {}, once each", list(&all));
    }
    if !rule.headers.is_empty() {
        let all: Vec<String> = rule.headers.iter().map(named).collect();
        text += &format!(", only with the headers {}, once each", list(&all));
    }
    if let Some(graphql) = &rule.graphql {
        text += &operation(graphql);
    }
    if rule.mcp.is_some() {
        text += ", only with MCP messages";
    }
    if let Some(bound) = rule.body_bound() {
        text += &format!(", with at most {bound} of body");
    }
    if let Some(when) = &rule.when {
        let one: Vec<&str> = when.as_str().split_whitespace().collect();
        text += &format!(", when `{}`", one.join(" "));
    }
    if let Some(credential) = &rule.credential {
        text += &format!(", with credential `{credential}`");
    }
    if let Some(rate) = &rule.rate {
        text += &format!(", at most {rate}");
    }
    text
}

fn operation(rule: &GraphQlRule) -> String {
    let kinds = match &rule.operations {
        Some(kinds) => list(&kinds.iter().collect::<Vec<_>>()),
        None => "any kind".to_owned(),
    };
    let fields = match &rule.fields {
        Some(fields) => format!(", of no other root fields than {}", list(fields)),
        None => String::new(),
    };
    format!(", only with GraphQL operations of {kinds}{fields}")
}

/// What an MCP rule lets either side say.
pub(super) fn messages(at: &HostPattern, rule: &McpRule) -> Vec<String> {
    let at = host(at);
    let mut out = Vec::new();
    out.push(match &rule.methods {
        Some(methods) => format!("can send MCP messages to {at} with the methods {}", list(methods)),
        None => format!("can send MCP messages to {at} with any method"),
    });
    for (tool, arguments) in rule.tools.iter().flatten() {
        let conditions: Vec<String> = arguments.iter().map(|(n, g)| format!("{n} = {g}")).collect();
        let with = match conditions.is_empty() {
            true => String::new(),
            false => format!(", only with the arguments {}", list(&conditions)),
        };
        out.push(format!("can call the tool {tool} at {at}{with}"));
    }
    if rule.tools.is_none()
        && rule
            .methods
            .as_ref()
            .is_none_or(|m| m.iter().any(|g| g.matches("tools/call")))
    {
        out.push(format!("can call every tool at {at}"));
    }
    let answers = if rule.answers() { ", and answers it" } else { "" };
    out.push(format!(
        "can be sent messages by the MCP server at {at} with the methods {}{answers}",
        list(&rule.server)
    ));
    out
}
