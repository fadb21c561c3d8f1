//! How a file lies over the one it extends.
//!
//! Scalars override, lists append (the extended file's items first), maps merge by key. What names *one* thing (a
//! credential's `source` and `placement`, `memory`, `disk`, `base`, one rate) overrides as a whole. Nothing is ever taken out of a
//! list: a file cannot un-hide what it extends.
use super::tree::{Entry, Node, Value};

/// Lays `over` over `under`.
pub(crate) fn merge(under: Node, over: Node) -> Node {
    merge_at(under, over, Shape::Root)
}

/// What stands at a place.
#[derive(Clone, Copy)]
enum Shape {
    Root,
    /// A map whose keys stand for themselves.
    Clause,
    Credentials,
    Credential,
    Environment,
    Network,
    Rates,
    Resources,
    Traces,
    /// A list, or `syscalls` and its like: the value's own kind decides.
    Plain,
    /// One thing: the later wins.
    One,
}

fn below(shape: Shape, key: &str) -> Shape {
    match (shape, key) {
        (Shape::Root, "resources") => Shape::Resources,
        (Shape::Root, "filesystem" | "syscalls") => Shape::Clause,
        // Budgets add up: each holds by itself, so that a file never spends more than what it extends.
        (Shape::Root, "budgets") => Shape::Plain,
        (Shape::Root, "traces") => Shape::Traces,
        (Shape::Root, "network") => Shape::Network,
        (Shape::Root, "credentials") => Shape::Credentials,
        (Shape::Root, "environment") => Shape::Environment,
        (Shape::Credentials, _) => Shape::Credential,
        (Shape::Network, "rates") => Shape::Rates,
        (Shape::Environment, "set") | (Shape::Resources, "disk_io") => Shape::Clause,
        (Shape::Root | Shape::Resources | Shape::Rates | Shape::Traces, _) => Shape::One,
        (Shape::Credential, "source" | "placement") | (Shape::Clause, "base") => Shape::One,
        _ => Shape::Plain,
    }
}

fn merge_at(under: Node, over: Node, shape: Shape) -> Node {
    let at = over.at;
    match (under.value, over.value, shape) {
        (_, value, Shape::One) => Node { value, at },
        (Value::Map(a), Value::Map(b), Shape::Plain) => Node {
            value: Value::Map(entries(a, b, Shape::Plain)),
            at,
        },
        (Value::Map(a), Value::Map(b), shape) => Node {
            value: Value::Map(entries(a, b, shape)),
            at,
        },
        (Value::Seq(mut a), Value::Seq(b), _) => {
            a.extend(b);
            Node {
                value: Value::Seq(a),
                at,
            }
        }
        // `syscalls: strict` over or under `syscalls: {deny: […]}` is a word for its base.
        (Value::Map(a), Value::Scalar(word), Shape::Clause) => Node {
            value: Value::Map(with_base(a, word, at)),
            at,
        },
        (Value::Scalar(word), Value::Map(b), Shape::Clause) => {
            let a = with_base(Vec::new(), word, under.at);
            Node {
                value: Value::Map(entries(a, b, shape)),
                at,
            }
        }
        (_, value, _) => Node { value, at },
    }
}

fn with_base(map: Vec<Entry>, word: String, at: super::tree::Mark) -> Vec<Entry> {
    let base = Entry {
        key: "base".to_owned(),
        key_at: at,
        value: Node {
            value: Value::Scalar(word),
            at,
        },
    };
    entries(map, vec![base], Shape::Clause)
}

fn entries(under: Vec<Entry>, over: Vec<Entry>, shape: Shape) -> Vec<Entry> {
    let mut out = under;
    // An index by key keeps two large maps from being compared pair by pair.
    let mut index: std::collections::HashMap<String, usize> =
        out.iter().enumerate().map(|(i, e)| (e.key.clone(), i)).collect();
    for entry in over {
        match index.get(&entry.key).copied().and_then(|i| out.get_mut(i)) {
            Some(slot) => {
                let old = std::mem::replace(
                    slot,
                    Entry {
                        value: null(&entry),
                        ..entry.clone()
                    },
                );
                slot.value = merge_at(old.value, entry.value, below(shape, &entry.key));
            }
            None => {
                index.insert(entry.key.clone(), out.len());
                out.push(entry);
            }
        }
    }
    out
}

fn null(entry: &Entry) -> Node {
    Node {
        value: Value::Null,
        at: entry.value.at,
    }
}
