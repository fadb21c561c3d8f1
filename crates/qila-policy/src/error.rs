//! What is wrong with a policy file, where, and what would be right.
mod problem;
mod render;

pub use problem::{Contradiction, LoadError, Problem};

use crate::parse::tree::Mark;
use std::fmt;

/// Most problems reported for one policy.
pub(crate) const MAX_DIAGNOSTICS: usize = 20;
/// Longest source excerpt kept, in characters.
const MAX_EXCERPT: usize = 120;

/// Why a policy was refused: at least one [`Diagnostic`]. `Display` renders all of them with their source lines.
#[derive(Debug, Clone)]
pub struct PolicyError {
    diagnostics: Vec<Diagnostic>,
}

impl PolicyError {
    pub(crate) fn new(first: Diagnostic, rest: impl IntoIterator<Item = Diagnostic>) -> PolicyError {
        let diagnostics = std::iter::once(first).chain(rest).take(MAX_DIAGNOSTICS).collect();
        PolicyError { diagnostics }
    }

    /// `Err` if there is any diagnostic, ordered by file and place.
    pub(crate) fn from_list(mut list: Vec<Diagnostic>) -> Result<(), PolicyError> {
        list.sort_by_key(|d| (d.source, d.line, d.column));
        let mut list = list.into_iter();
        match list.next() {
            None => Ok(()),
            Some(first) => Err(PolicyError::new(first, list)),
        }
    }

    /// Every problem found, in the order of the file.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

/// One problem, with its place. `Display` renders it with the source line and a caret, without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    source: usize,
    /// The file as the caller named it, or `built-in NAME`.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// The clause, such as `network.allow[2].ports[0]`; empty for the whole file.
    pub clause: String,
    /// What is wrong.
    pub problem: Problem,
    /// What to do about it.
    pub help: Option<String>,
    excerpt: render::Excerpt,
}

/// A file that was read: its name for messages, and its text.
#[derive(Debug, Clone)]
pub(crate) struct SourceText {
    pub name: String,
    pub text: String,
}

impl Diagnostic {
    pub(crate) fn new(sources: &[SourceText], at: Mark, clause: String, problem: Problem) -> Diagnostic {
        let source = sources.get(at.source);
        let help = problem.help();
        // What stands where a source should may be a pasted secret; errors end up in logs.
        let text = match problem {
            Problem::Source | Problem::Secret | Problem::UrlWithUser => "",
            _ => source.map_or("", |s| s.text.as_str()),
        };
        Diagnostic {
            source: at.source,
            file: source.map(|s| s.name.clone()).unwrap_or_default(),
            line: at.line,
            column: at.column,
            clause,
            problem,
            help,
            excerpt: render::Excerpt::cut(text, at, MAX_EXCERPT),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render::diagnostic(self, &self.excerpt, f)
    }
}
