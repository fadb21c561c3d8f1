//! Walks a tree, collecting problems instead of stopping at the first.
use super::keys;
use super::tree::{Entry, Mark, Node, Value};
use crate::error::{Diagnostic, MAX_DIAGNOSTICS, Problem, SourceText};
use qila_types::UnitError;
use std::fmt;
use std::str::FromStr;

/// Most items of one list or keys of one map, all extended files together: bounds the checks of all against all.
const MAX_ITEMS: usize = 4096;

/// Where in the policy the reader is, printed as `network.allow[2].host`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(crate) fn key(&'a self, key: &'a str) -> Path<'a> {
        Path::Key(self, key)
    }

    pub(crate) fn index(&'a self, index: usize) -> Path<'a> {
        Path::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => write!(f, "{key:.64}"),
            Path::Key(parent, key) => write!(f, "{parent}.{key:.64}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The reader's state: the files read and what was found wrong.
pub(crate) struct Reader<'s> {
    pub sources: &'s [SourceText],
    pub diagnostics: Vec<Diagnostic>,
}

/// The keys of one clause, checked.
pub(crate) struct Fields<'n> {
    entries: &'n [Entry],
    pub at: Mark,
}

impl<'n> Fields<'n> {
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|e| &e.value)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|e| e.key == key)
    }
}

impl<'s> Reader<'s> {
    pub(crate) fn new(sources: &'s [SourceText]) -> Reader<'s> {
        Reader {
            sources,
            diagnostics: Vec::new(),
        }
    }

    pub(crate) fn problem(&mut self, at: Mark, path: &Path<'_>, problem: impl Into<Problem>) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            let diagnostic = Diagnostic::new(self.sources, at, path.to_string(), problem.into());
            self.diagnostics.push(diagnostic);
        }
    }

    fn wrong(&mut self, node: &Node, path: &Path<'_>, wanted: &'static str) {
        let found = node.value.kind();
        self.problem(node.at, path, Problem::WrongType { wanted, found });
    }

    /// The entries of a map, no key twice.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> &'n [Entry] {
        let Value::Map(entries) = &node.value else {
            self.wrong(node, path, "a map");
            return &[];
        };
        if entries.len() > MAX_ITEMS {
            self.problem(
                node.at,
                path,
                Problem::TooMany {
                    what: "keys of one map",
                    most: MAX_ITEMS,
                },
            );
            return &[];
        }
        let mut seen = std::collections::HashMap::with_capacity(entries.len());
        for entry in entries {
            if let Some(first_line) = seen.insert(entry.key.as_str(), entry.key_at.line) {
                let problem = Problem::DuplicateKey {
                    key: short(&entry.key),
                    first_line,
                };
                self.problem(entry.key_at, &path.key(&entry.key), problem);
            }
        }
        entries
    }

    /// A map with known keys.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, path: &Path<'_>, allowed: &[&str]) -> Fields<'n> {
        let entries = self.entries(node, path);
        for entry in entries {
            if !allowed.contains(&entry.key.as_str()) && self.diagnostics.len() < MAX_DIAGNOSTICS {
                let help = keys::advice(&entry.key, allowed);
                let problem = Problem::UnknownKey {
                    key: short(&entry.key),
                    help,
                };
                self.problem(entry.key_at, &path.key(&entry.key), problem);
            }
        }
        Fields { entries, at: node.at }
    }

    /// The items of a list.
    pub(crate) fn items<'n>(&mut self, node: &'n Node, path: &Path<'_>) -> &'n [Node] {
        match &node.value {
            Value::Seq(items) if items.len() > MAX_ITEMS => {
                self.problem(
                    node.at,
                    path,
                    Problem::TooMany {
                        what: "items of one list",
                        most: MAX_ITEMS,
                    },
                );
                &[]
            }
            Value::Seq(items) => items,
            _ => {
                self.wrong(node, path, "a list");
                &[]
            }
        }
    }

    /// A single value as it was written.
    pub(crate) fn text<'n>(
        &mut self,
        node: &'n Node,
        path: &Path<'_>,
        wanted: &'static str,
    ) -> Option<&'n str> {
        match &node.value {
            Value::Scalar(text) => Some(text),
            _ => {
                self.wrong(node, path, wanted);
                None
            }
        }
    }

    /// A quantity with its unit.
    pub(crate) fn unit<T: FromStr<Err = UnitError>>(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        wanted: &'static str,
    ) -> Option<T> {
        let text = self.text(node, path, wanted)?;
        text.parse()
            .map_err(|e: UnitError| self.problem(node.at, path, e))
            .ok()
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, node: &Node, path: &Path<'_>, low: u64, high: u64) -> Option<u64> {
        let text = self.text(node, path, "a whole number")?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let value = text.parse().ok().filter(|v| digits && (low..=high).contains(v));
        if value.is_none() {
            self.problem(
                node.at,
                path,
                Problem::Number {
                    text: short(text),
                    low,
                    high,
                },
            );
        }
        value
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, node: &Node, path: &Path<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, path, "a word")?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            let wanted = names
                .clone()
                .map(|n| format!("`{n}`"))
                .collect::<Vec<_>>()
                .join(", ");
            let nearest = keys::nearest(text, names);
            self.problem(
                node.at,
                path,
                Problem::Word {
                    text: short(text),
                    wanted,
                    nearest,
                },
            );
        }
        found.map(|(_, value)| *value)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, node: &Node, path: &Path<'_>) -> Option<bool> {
        self.word(node, path, &[("true", true), ("false", false)])
    }

    /// A text of a certain form.
    pub(crate) fn form(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        wanted: &'static str,
        check: fn(&str) -> bool,
    ) -> Option<String> {
        let text = self.text(node, path, wanted)?;
        if check(text) {
            return Some(text.to_owned());
        }
        self.problem(
            node.at,
            path,
            Problem::Form {
                text: short(text),
                wanted,
            },
        );
        None
    }

    /// A list in which every item is read alike; items that are wrong are reported and left out. Places go with them.
    pub(crate) fn each<T>(
        &mut self,
        node: Option<&Node>,
        path: &Path<'_>,
        mut read: impl FnMut(&mut Self, &Node, &Path<'_>) -> Option<T>,
    ) -> Vec<(T, Mark)> {
        let Some(node) = node else { return Vec::new() };
        let items = self.items(node, path);
        let mut out = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            if let Some(value) = read(self, item, &path.index(i)) {
                out.push((value, item.at));
            }
        }
        out
    }
}

/// A text as messages quote it: at most 64 characters.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
