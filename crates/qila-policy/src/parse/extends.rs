//! `extends`: which files make up one policy, in which order.
use super::reader::short;
use super::tree::{self, Mark, Node, Value};
use crate::error::{Diagnostic, LoadError, PolicyError, Problem, SourceText};
use crate::preset;

/// Deepest chain of files.
pub(crate) const MAX_DEPTH: usize = 8;
/// Most files of one policy: a list of two at each of eight levels would be 256.
const MAX_FILES: usize = 32;

/// The file in which an `extends` stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's name: the one given to [`super::parse`], or the [`Loaded::name`] that the source gave it.
    pub name: String,
}

/// A file that a [`PolicySource`] has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The file's name, one for each file however it was referred to (a resolved path): cycles are found by it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Loads the files that `extends` names. This crate reads none itself.
pub trait PolicySource {
    /// Reads `reference` (`./other.yaml`, `/etc/qila/base.yaml`), relative to the folder of `from`.
    fn load(&mut self, reference: &str, from: &Origin) -> Result<Loaded, LoadError>;
}

/// A source without files: built-in policies only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl PolicySource for NoFiles {
    fn load(&mut self, _: &str, _: &Origin) -> Result<Loaded, LoadError> {
        Err(LoadError::NoFiles)
    }
}

/// All files of a policy, the extended before the extending.
pub(super) struct Layers {
    pub sources: Vec<SourceText>,
    pub layers: Vec<Node>,
}

pub(super) fn load(name: &str, text: &str, source: &mut dyn PolicySource) -> Result<Layers, PolicyError> {
    let mut out = Layers {
        sources: Vec::with_capacity(1),
        layers: Vec::with_capacity(1),
    };
    let file = Loaded {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    out.add(file, source, &mut Vec::new())?;
    Ok(out)
}

impl Layers {
    fn add(
        &mut self,
        file: Loaded,
        source: &mut dyn PolicySource,
        chain: &mut Vec<String>,
    ) -> Result<(), PolicyError> {
        let index = self.sources.len();
        let read = tree::read(index, &file.text);
        self.sources.push(SourceText {
            name: file.name.clone(),
            text: file.text,
        });
        let node = read.map_err(|(at, problem)| self.error(at, "", problem))?;
        self.version(&node)?;
        chain.push(file.name);
        for (reference, at) in self.references(&node)? {
            let next = self.resolve(&reference, at, chain, source)?;
            self.add(next, source, chain)?;
        }
        chain.pop();
        self.layers.push(node);
        Ok(())
    }

    fn error(&self, at: Mark, clause: &str, problem: Problem) -> PolicyError {
        PolicyError::new(
            Diagnostic::new(&self.sources, at, clause.to_owned(), problem),
            None,
        )
    }

    /// Another version may mean other things by the same words: nothing else is looked at.
    fn version(&self, node: &Node) -> Result<(), PolicyError> {
        let Value::Map(entries) = &node.value else {
            return match node.value {
                Value::Null => Err(self.error(node.at, "version", Problem::NoVersion)),
                _ => {
                    let found = node.value.kind();
                    Err(self.error(
                        node.at,
                        "",
                        Problem::WrongType {
                            wanted: "a map of clauses",
                            found,
                        },
                    ))
                }
            };
        };
        match entries.iter().find(|e| e.key == "version").map(|e| &e.value) {
            None => Err(self.error(node.at, "version", Problem::NoVersion)),
            Some(Node {
                value: Value::Scalar(v),
                ..
            }) if v == super::VERSION => Ok(()),
            Some(Node {
                value: Value::Scalar(v),
                at,
            }) => Err(self.error(*at, "version", Problem::Version(short(v)))),
            Some(Node { value, at }) => {
                let problem = Problem::WrongType {
                    wanted: "a version number",
                    found: value.kind(),
                };
                Err(self.error(*at, "version", problem))
            }
        }
    }

    fn references(&self, node: &Node) -> Result<Vec<(String, Mark)>, PolicyError> {
        let Value::Map(entries) = &node.value else {
            return Ok(Vec::new());
        };
        let Some(entry) = entries.iter().find(|e| e.key == "extends") else {
            return Ok(Vec::new());
        };
        let one = std::slice::from_ref(&entry.value);
        let list = match &entry.value.value {
            Value::Seq(items) => items.as_slice(),
            _ => one,
        };
        let read = |node: &Node| match &node.value {
            Value::Scalar(text) => Ok((text.clone(), node.at)),
            other => {
                let wanted = "a built-in policy or `./file.yaml`, or a list of them";
                Err(self.error(
                    node.at,
                    "extends",
                    Problem::WrongType {
                        wanted,
                        found: other.kind(),
                    },
                ))
            }
        };
        list.iter().map(read).collect()
    }

    fn resolve(
        &self,
        reference: &str,
        at: Mark,
        chain: &[String],
        source: &mut dyn PolicySource,
    ) -> Result<Loaded, PolicyError> {
        let fail = |problem| Err(self.error(at, "extends", problem));
        if chain.len() >= MAX_DEPTH {
            return fail(Problem::TooDeep(MAX_DEPTH));
        }
        if self.sources.len() >= MAX_FILES {
            return fail(Problem::TooMany {
                what: "files of one policy",
                most: MAX_FILES,
            });
        }
        if !is_file(reference) {
            return match preset::find(reference) {
                Some(found) => Ok(Loaded {
                    name: format!("built-in {}", found.name),
                    text: found.text.to_owned(),
                }),
                None => {
                    let nearest = super::keys::nearest(reference, preset::PRESETS.iter().map(|p| p.name));
                    fail(Problem::UnknownPreset {
                        name: short(reference),
                        nearest,
                    })
                }
            };
        }
        let wanted = "a path of a file without control characters";
        if reference.len() > 4096 || reference.chars().any(char::is_control) {
            return fail(Problem::Form {
                text: short(reference),
                wanted,
            });
        }
        let from = Origin {
            name: chain.last().cloned().unwrap_or_default(),
        };
        match source.load(reference, &from) {
            Ok(file) if chain.contains(&file.name) => fail(Problem::Cycle(short(&file.name))),
            Ok(file) => Ok(file),
            Err(cause) => fail(Problem::Load {
                reference: short(reference),
                cause,
            }),
        }
    }
}

/// Whether a reference names a file: it has a `/`, or ends as a YAML file does.
fn is_file(reference: &str) -> bool {
    reference.contains('/') || reference.ends_with(".yaml") || reference.ends_with(".yml")
}
