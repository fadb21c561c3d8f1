//! Conditions that never hold, or not for what is sent on.
use super::Found;
use crate::error::Contradiction;
use crate::model::{Credential, NetRule};
use crate::parse::{Draft, RuleMarks};

/// Methods whose requests say nothing that a GraphQL server reads; `GET` says it in its query.
const NOT_GRAPHQL: &[&str] = &["HEAD", "DELETE", "OPTIONS", "TRACE"];
/// Methods that no MCP client uses; `GET` opens a stream, and `DELETE` ends a session.
const NOT_MCP: &[&str] = &["HEAD", "OPTIONS", "TRACE"];

pub(super) fn find(draft: &Draft, out: &mut Vec<Found>) {
    for (rule, at) in draft.policy.network.allow.iter().zip(&draft.marks.allow) {
        let (what, never) = match (&rule.graphql, &rule.mcp) {
            (Some(_), _) => ("`graphql`", NOT_GRAPHQL),
            (_, Some(_)) => ("`mcp`", NOT_MCP),
            _ => continue,
        };
        let Some(methods) = &rule.methods else { continue };
        if methods.iter().all(|m| never.contains(&m.as_str())) {
            let methods = methods.join(", ");
            let contradiction = Contradiction::MethodWithoutBody { what, methods };
            out.push((*at, "network.allow".to_owned(), contradiction));
        }
    }
}

/// Conditions of a rule on the place where its own credential goes: they would be about the placeholder.
pub(super) fn on_credential(
    rule: &NetRule,
    marks: &RuleMarks,
    credential: &Credential,
    out: &mut Vec<Found>,
) {
    let headers = credential.placement.headers();
    let in_query = |name: &str| credential.placement.in_query(name);
    let mut found = Vec::new();
    for (name, at) in rule.query.keys().zip(&marks.query) {
        if in_query(name) {
            found.push((*at, format!("query parameter `{name}`")));
        }
    }
    for (name, at) in rule.headers.keys().zip(&marks.headers) {
        if headers.contains(&name.as_str()) {
            found.push((*at, format!("header `{name}`")));
        }
    }
    if let Some(reads) = rule.when.as_ref().map(|w| w.reads()) {
        if let Some(name) = reads.query.iter().find(|n| in_query(n)) {
            found.push((marks.when, format!("query parameter `{name}`")));
        }
        if let Some(name) = reads.headers.iter().find(|n| headers.contains(&n.as_str())) {
            found.push((marks.when, format!("header `{name}`")));
        }
    }
    for (at, what) in found {
        let credential = credential.name.clone();
        let contradiction = Contradiction::ConditionOnCredential { what, credential };
        out.push((at, "network.allow".to_owned(), contradiction));
    }
}
