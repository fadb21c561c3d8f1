//! Shows the changes: a unified diff that `git apply` and `patch` read, and a summary per file.
mod side;
mod stat;
mod text;

use crate::quote::quote_bytes;
use crate::{Change, ChangeKind, Changes, Layer, Node, NodeKind, write_escaped};
use serde::Serialize;
use side::Side;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use text::Lines;

pub use stat::write_stat;

/// Why a diff was not shown to its end.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The layer or the workspace could not be read.
    #[error("cannot compare the layer with the workspace; nothing was changed")]
    Read(#[from] crate::At),
    /// The output could not be written.
    #[error("cannot write the diff")]
    Write(#[from] io::Error),
}

/// How a diff is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Show control and misleading characters in content as escapes. Set it for a terminal; a patch needs the bytes.
    /// File names are always quoted.
    pub escape_content: bool,
    /// Colours for a terminal.
    pub color: bool,
}

impl Style {
    /// For a terminal.
    pub const TERMINAL: Style = Style {
        escape_content: true,
        color: true,
    };
}

/// The changes in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stat {
    /// Entries that differ.
    pub files: u64,
    /// Lines that are new.
    pub insertions: u64,
    /// Lines that are gone.
    pub deletions: u64,
    /// Files compared as a whole: not text, or too large.
    pub binary: u64,
    /// Entries that apply refuses unless asked; see [`crate::RISKS`].
    pub risky: u64,
    /// Entries that are never applied.
    pub skipped: u64,
    /// Entries counted in `files` whose diff was not written, because the output reached its bound.
    pub not_shown: u64,
}

/// Writes the unified diff.
pub fn write_diff(
    layer: &Layer,
    changes: &Changes,
    style: Style,
    out: &mut dyn Write,
) -> Result<Stat, DiffError> {
    let mut pen = Pen {
        out,
        style,
        written: 0,
    };
    let mut stat = Stat::default();
    for change in &changes.entries {
        stat.files += 1;
        stat.risky += u64::from(change.risk.is_some());
        if pen.written > layer.limits().diff_output {
            stat.not_shown += 1;
        } else {
            one(layer, change, &mut pen, &mut stat)?;
        }
    }
    for skipped in &changes.skipped {
        stat.skipped += 1;
        pen.note(&format!(
            "{} is not applied: {}",
            crate::quote_path(&skipped.path),
            skipped.reason.as_str()
        ))?;
    }
    if stat.not_shown > 0 {
        pen.note(&format!(
            "{} more files differ; name paths to see them",
            stat.not_shown
        ))?;
    }
    Ok(stat)
}

/// One change; a change of type is written as a removal and an addition, as Git does.
fn one(layer: &Layer, change: &Change, pen: &mut Pen<'_>, stat: &mut Stat) -> Result<(), DiffError> {
    if let Some(risk) = change.risk {
        pen.note(&format!("risky: {risk}"))?;
    }
    if change.kind == ChangeKind::TypeChanged {
        part(layer, &change.path, change.before.as_ref(), None, pen, stat)?;
        return part(layer, &change.path, None, change.after.as_ref(), pen, stat);
    }
    part(
        layer,
        &change.path,
        change.before.as_ref(),
        change.after.as_ref(),
        pen,
        stat,
    )
}

fn part(
    layer: &Layer,
    path: &Path,
    before: Option<&Node>,
    after: Option<&Node>,
    pen: &mut Pen<'_>,
    stat: &mut Stat,
) -> Result<(), DiffError> {
    let directory = |n: Option<&Node>| n.is_some_and(|n| n.kind == NodeKind::Directory);
    if directory(before) || directory(after) {
        let what = match (before, after) {
            (None, _) => "new directory".to_owned(),
            (_, None) => "removed directory".to_owned(),
            (Some(a), Some(b)) => format!("directory mode {:03o} -> {:03o}", a.mode, b.mode),
        };
        return Ok(pen.note(&format!("{what} {}", crate::quote_path(path)))?);
    }
    let [a, b] = ["a/", "b/"].map(|p| quote_bytes(&[p.as_bytes(), path.as_os_str().as_bytes()].concat()));
    pen.head(&format!("diff --git {a} {b}"))?;
    match (before, after) {
        (None, Some(n)) => pen.head(&format!("new file mode {}", git_mode(n)))?,
        (Some(n), None) => pen.head(&format!("deleted file mode {}", git_mode(n)))?,
        (Some(old), Some(new)) if old.mode != new.mode && old.kind != NodeKind::Symlink => {
            pen.head(&format!("old mode {}", git_mode(old)))?;
            pen.head(&format!("new mode {}", git_mode(new)))?;
        }
        _ => {}
    }
    let old = Side::load(layer.lower(), path, before, layer.limits())?;
    let new = Side::load(layer.upper(), path, after, layer.limits())?;
    let [from, to] =
        [(&old, &a), (&new, &b)].map(|(s, n)| if s.is_absent() { "/dev/null" } else { n.as_str() });
    match (old.text(), new.text()) {
        (Some(x), Some(y)) if x == y => {}
        (Some(x), Some(y)) => {
            let lines = Lines::compare(x, y);
            let (inserted, deleted) = lines.count();
            stat.insertions += inserted;
            stat.deletions += deleted;
            pen.head(&format!("--- {from}"))?;
            pen.head(&format!("+++ {to}"))?;
            lines.write(pen)?;
        }
        _ => {
            stat.binary += 1;
            let (old, new) = (old.describe(before), new.describe(after));
            pen.head(&format!("Binary files {from} and {to} differ ({old} -> {new})"))?;
        }
    }
    Ok(())
}

fn git_mode(node: &Node) -> String {
    match node.kind {
        NodeKind::Symlink => "120000".to_owned(),
        _ => format!("100{:03o}", node.mode),
    }
}

/// Writes lines in the wanted style and counts bytes.
struct Pen<'a> {
    out: &'a mut dyn Write,
    style: Style,
    written: u64,
}

impl Pen<'_> {
    fn colored(&mut self, color: &str, bytes: &[u8], escape: bool) -> io::Result<()> {
        let (on, off) = if self.style.color && !color.is_empty() {
            (color, "\x1b[m")
        } else {
            ("", "")
        };
        let (body, newline) = match bytes.strip_suffix(b"\n") {
            Some(body) => (body, "\n"),
            None => (bytes, ""),
        };
        self.out.write_all(on.as_bytes())?;
        if escape {
            write_escaped(body, self.out)?;
        } else {
            self.out.write_all(body)?;
        }
        self.out.write_all(off.as_bytes())?;
        self.out.write_all(newline.as_bytes())?;
        self.written += (bytes.len() + on.len() + off.len()) as u64;
        Ok(())
    }

    /// A line that tools which read patches pass over.
    fn note(&mut self, text: &str) -> io::Result<()> {
        self.colored("\x1b[33m", format!("# {text}\n").as_bytes(), false)
    }

    fn head(&mut self, text: &str) -> io::Result<()> {
        self.colored("\x1b[1m", format!("{text}\n").as_bytes(), false)
    }

    fn hunk(&mut self, text: &str) -> io::Result<()> {
        self.colored("\x1b[36m", format!("{text}\n").as_bytes(), false)
    }

    fn line(&mut self, sign: u8, line: &[u8]) -> io::Result<()> {
        let color = match sign {
            b'-' => "\x1b[31m",
            b'+' => "\x1b[32m",
            _ => "",
        };
        let mut bytes = Vec::with_capacity(line.len() + 2);
        bytes.push(sign);
        bytes.extend(line);
        let whole = bytes.ends_with(b"\n");
        if !whole {
            bytes.push(b'\n');
        }
        self.colored(color, &bytes, self.style.escape_content)?;
        if !whole {
            self.out.write_all(b"\\ No newline at end of file\n")?;
        }
        Ok(())
    }
}
