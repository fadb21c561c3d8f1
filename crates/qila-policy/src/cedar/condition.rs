//! An expert condition, from its text: parsed, validated against the schema, and what it looks at.
use super::{Action, Names, rule, schema};
use crate::model::{Condition, NetRule, Reads};
use cedar_policy::{Expression, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use serde_json::Value;
use std::str::FromStr;

/// Longest condition, in bytes.
pub(crate) const MAX: usize = 4096;

/// Deepest nesting of brackets and `if`: the parser of Cedar takes a piece of the stack for each.
const MAX_DEPTH: usize = 16;
/// Most signs and words: a chain of them is a tree as deep as the chain is long.
const MAX_TOKENS: usize = 256;

/// Whether an expression is small enough to be parsed. It may count more than there is, never less.
fn small(text: &str) -> bool {
    let (mut depth, mut deepest, mut tokens, mut ifs) = (0usize, 0usize, 0usize, 0usize);
    let mut in_string = false;
    let mut escaped = false;
    let mut word = String::new();
    let mut chars = text.chars().chain([' ']).peekable();
    while let Some(c) = chars.next() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        if c == '/' && chars.peek() == Some(&'/') {
            // A comment, to the end of its line: a quote in it opens no string.
            while chars.next_if(|c| *c != '\n').is_some() {}
            continue;
        }
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        tokens += usize::from(!word.is_empty());
        ifs += usize::from(word == "if");
        word.clear();
        tokens += usize::from(!c.is_whitespace());
        match c {
            '"' => in_string = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest + ifs <= MAX_DEPTH && tokens <= MAX_TOKENS
}

/// Compiles the condition of a rule whose other parts are known. The error is what Cedar says.
pub(crate) fn compile(text: &str, of: &NetRule) -> Result<Condition, String> {
    if !small(text) {
        return Err(format!(
            "it nests deeper than {MAX_DEPTH}, or has more than {MAX_TOKENS} words and signs"
        ));
    }
    Expression::from_str(text).map_err(|e| said(&e))?;
    let alone = format!("permit (principal, action, resource) when {{ (\n{text}\n) }};");
    let alone = Policy::parse(None, alone).map_err(|e| said(&e))?;
    let tree = alone.to_json().map_err(|e| e.to_string())?;
    let mut reads = Reads::default();
    look(&tree, &mut reads);
    if let Some(name) = reads
        .headers
        .iter()
        .find(|n| n.chars().any(|c| c.is_ascii_uppercase()))
    {
        return Err(format!(
            "names of headers are in lower case here, and `{name}` is not"
        ));
    }
    let condition = Condition {
        text: text.to_owned(),
        reads,
    };
    let whole = NetRule {
        when: Some(condition.clone()),
        ..of.clone()
    };
    validate(&whole).map(|()| condition)
}

fn validate(whole: &NetRule) -> Result<(), String> {
    let (schema, _) =
        Schema::from_cedarschema_str(&schema(&Names::of([whole]))).map_err(|e| e.to_string())?;
    let text = rule(0, whole, Action::Http).unwrap_or_default();
    let policy = Policy::parse(Some(PolicyId::new("when")), text).map_err(|e| said(&e))?;
    let set = PolicySet::from_policies([policy]).map_err(|e| e.to_string())?;
    let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
    if let Some(error) = result.validation_errors().next() {
        return Err(said(&error));
    }
    // Warnings are about what can never be: a condition that is always false allows nothing.
    match result.validation_warnings().next() {
        Some(warning) => Err(said(&warning)),
        None => Ok(()),
    }
}

/// What Cedar says, on one line, without the name under which the condition was shown to it.
fn said(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let text = text
        .split_once("policy `when`, ")
        .map_or(text.as_str(), |(_, rest)| rest);
    let one: Vec<&str> = text.split_whitespace().collect();
    one.join(" ").chars().take(300).collect()
}

/// Walks the tree of an expression for what it takes from the context.
fn look(tree: &Value, reads: &mut Reads) {
    match tree {
        Value::Array(items) => items.iter().for_each(|v| look(v, reads)),
        Value::Object(map) => {
            for (key, inner) in map {
                if key == "." || key == "has" {
                    note(inner, reads);
                }
                look(inner, reads);
            }
        }
        _ => {}
    }
}

/// Notes one access: `LEFT.ATTR` or `LEFT has ATTR`.
fn note(access: &Value, reads: &mut Reads) {
    let Some(attr) = access.get("attr").and_then(Value::as_str) else {
        return;
    };
    let left = access.get("left").unwrap_or(&Value::Null);
    match place(left).as_deref() {
        Some([]) => match attr {
            "body" => reads.body = true,
            "body_size" => reads.body_size = true,
            "graphql" => reads.graphql = true,
            "mcp" => reads.mcp = true,
            _ => {}
        },
        Some(["query"]) => drop(reads.query.insert(attr.to_owned())),
        Some(["headers"]) => drop(reads.headers.insert(attr.to_owned())),
        Some(["mcp", "arguments"]) => drop(reads.arguments.insert(attr.to_owned())),
        _ => {}
    }
}

/// The way from the context to a value: `context.mcp.arguments` is `["mcp", "arguments"]`.
fn place(value: &Value) -> Option<Vec<&str>> {
    if value.get("Var").and_then(Value::as_str) == Some("context") {
        return Some(Vec::new());
    }
    let access = value.get(".")?;
    let mut way = place(access.get("left")?)?;
    way.push(access.get("attr")?.as_str()?);
    Some(way)
}
