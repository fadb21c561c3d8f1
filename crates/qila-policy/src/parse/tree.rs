//! YAML text to a tree in which every key and value knows where it stands.
//!
//! The tree keeps scalars as the text that was written (`0.50` stays `0.50`), so that each clause reads its own unit.
use crate::error::Problem;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Budget, Location, Options, Spanned};
use std::fmt;

/// Largest policy file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting of lists and maps.
const MAX_DEPTH: usize = 16;
/// Most lists, maps and scalars in one file, after aliases are expanded.
const MAX_NODES: usize = 50_000;
/// Most events that aliases may add.
const MAX_ALIAS_EVENTS: usize = 10_000;

/// Where something stands: the file (an index into the files read), line and column from 1, width in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub source: usize,
    pub line: u32,
    pub column: u32,
    pub width: u32,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub value: Value,
    pub at: Mark,
}

/// One `key: value`.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    pub key_at: Mark,
    pub value: Node,
}

/// What YAML can say.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Scalar(String),
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

impl Value {
    /// Its kind in plain words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Scalar(_) => "a single value",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Reads one file into a tree. The error carries its line and column where there is one.
pub(crate) fn read(source: usize, text: &str) -> Result<Node, (Mark, Problem)> {
    let start = Mark {
        source,
        line: 1,
        column: 1,
        width: 0,
    };
    if text.len() > MAX_BYTES {
        return Err((start, Problem::TooLarge { bytes: text.len() }));
    }
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let at = error.location().map_or(start, |l| mark(source, &l));
        (at, Problem::Syntax(plain(&error)))
    })?;
    Ok(match raw.value {
        // An empty file has no place of its own.
        Raw::Null => Node {
            value: Value::Null,
            at: start,
        },
        _ => node(source, text, raw),
    })
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.flow_nesting_limit = MAX_DEPTH;
    budget.max_nodes = MAX_NODES;
    budget.max_events = MAX_NODES * 4;
    budget.max_aliases = 1_000;
    budget.max_anchors = 1_000;
    budget.max_recorded_anchor_events = MAX_ALIAS_EVENTS;
    budget.max_recorded_anchor_bytes = MAX_BYTES;
    budget.max_total_scalar_bytes = 2 * MAX_BYTES;
    budget.max_documents = 1;
    let mut options = Options::default();
    options.budget = Some(budget);
    // Reported by the reader, which knows where the first one stands.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.merge_keys = MergeKeyPolicy::Error;
    options.alias_limits.max_total_replayed_events = MAX_ALIAS_EVENTS;
    options.alias_limits.max_replay_stack_depth = MAX_DEPTH;
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    options
}

/// The message without the place, which the diagnostic shows itself.
fn plain(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::Budget { breach, .. } = error.without_snippet() {
        return match breach {
            BudgetBreach::Documents { .. } => {
                "a policy is one YAML document, and here begins a second".to_owned()
            }
            BudgetBreach::Depth { .. } => format!("lists and maps nest deeper than {MAX_DEPTH}"),
            BudgetBreach::Nodes { .. } => format!("more than {MAX_NODES} values"),
            _ => "aliases or values grow beyond what a policy may hold".to_owned(),
        };
    }
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    let cut = first.split(" at line ").next().unwrap_or(first);
    cut.trim_start_matches("error: ").chars().take(200).collect()
}

fn mark(source: usize, at: &Location) -> Mark {
    let small = |v: u64| u32::try_from(v).unwrap_or(u32::MAX);
    Mark {
        source,
        line: small(at.line()).max(1),
        column: small(at.column()).max(1),
        width: small(at.span().len()),
    }
}

enum Raw {
    Null,
    /// A string, as YAML unquotes it.
    Text(String),
    /// A plain boolean or number, whose spelling is taken from the file; the text is used where that is unknown.
    Plain(String),
    Seq(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn node(source: usize, text: &str, raw: Spanned<Raw>) -> Node {
    let at = mark(source, &raw.referenced);
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(s) => Value::Scalar(s),
        Raw::Plain(s) => Value::Scalar(spelled(text, &raw.defined).unwrap_or(s)),
        Raw::Seq(items) => Value::Seq(items.into_iter().map(|i| node(source, text, i)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key_at: mark(source, &key.referenced),
                    key: key.value,
                    value: node(source, text, value),
                })
                .collect(),
        ),
    };
    Node { value, at }
}

fn spelled(text: &str, at: &Location) -> Option<String> {
    let start = usize::try_from(at.span().byte_offset()?).ok()?;
    let len = usize::try_from(at.span().byte_len()?).ok()?;
    let found = text.get(start..start.checked_add(len)?)?.trim();
    (!found.is_empty()).then(|| found.to_owned())
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value, a list or a map")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Raw, E> {
                Ok(Raw::Plain(v.to_string()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Raw, E> {
                Ok(Raw::Plain(v.to_string()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Raw, E> {
                Ok(Raw::Plain(v.to_string()))
            }
            fn visit_i128<E>(self, v: i128) -> Result<Raw, E> {
                Ok(Raw::Plain(v.to_string()))
            }
            fn visit_u128<E>(self, v: u128) -> Result<Raw, E> {
                Ok(Raw::Plain(v.to_string()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Raw, E> {
                Ok(Raw::Plain(v.to_string()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Raw, E> {
                Ok(Raw::Text(v.to_owned()))
            }
            fn visit_string<E>(self, v: String) -> Result<Raw, E> {
                Ok(Raw::Text(v))
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Raw::Seq(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
