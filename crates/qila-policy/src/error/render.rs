//! A diagnostic as plain text: message, place, source line, caret, help.
use super::Diagnostic;
use crate::parse::tree::Mark;
use std::fmt;

/// The source line, shortened around the place, with control characters made visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    line: String,
    /// Characters before the caret.
    before: usize,
    /// Carets.
    width: usize,
}

impl Excerpt {
    pub(super) fn cut(text: &str, at: Mark, max: usize) -> Excerpt {
        let index = usize::try_from(at.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let line = text.lines().nth(index).unwrap_or_default();
        let column = usize::try_from(at.column.saturating_sub(1)).unwrap_or(0);
        let skip = column.saturating_sub(max / 2);
        let shown: String = line.chars().skip(skip).take(max).map(visible).collect();
        let before = column - skip;
        let left = shown.trim_end().chars().count().saturating_sub(before);
        let width = usize::try_from(at.width).unwrap_or(0).min(left).max(1);
        Excerpt {
            line: shown.trim_end().to_owned(),
            before,
            width,
        }
    }
}

/// A policy may come from a stranger: nothing in it may speak to the terminal.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() || is_bidi(c) => '\u{fffd}',
        c => c,
    }
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with nothing in it that speaks to a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(visible).collect()
}

pub(super) fn diagnostic(d: &Diagnostic, excerpt: &Excerpt, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "error: {}", shown(&d.problem.to_string()))?;
    write!(f, "\n  --> {}:{}:{}", shown(&d.file), d.line, d.column)?;
    if !d.clause.is_empty() {
        write!(f, " ({})", shown(&d.clause))?;
    }
    let number = d.line.to_string();
    let gutter = " ".repeat(number.len());
    if !excerpt.line.is_empty() {
        write!(f, "\n {gutter} |\n {number} | {}", excerpt.line)?;
        write!(
            f,
            "\n {gutter} | {}{}",
            " ".repeat(excerpt.before),
            "^".repeat(excerpt.width)
        )?;
    }
    if let Some(help) = &d.help {
        write!(f, "\n {gutter} = help: {}", shown(help))?;
    }
    Ok(())
}
