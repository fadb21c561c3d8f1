//! The summary per file.
use super::{DiffError, Lines, Side, Stat, Style};
use crate::{Change, ChangeKind, Changes, Layer, Node, NodeKind, quote_path};
use std::io::Write;

/// Widest column of names, and of signs.
const NAMES: usize = 60;
const SIGNS: u64 = 40;

/// What is printed after the name.
enum Row {
    Lines(u64, u64),
    Note(String),
}

/// Writes one line per changed entry and a total, like `git diff --stat`.
pub fn write_stat(
    layer: &Layer,
    changes: &Changes,
    style: Style,
    out: &mut dyn Write,
) -> Result<Stat, DiffError> {
    let mut stat = Stat {
        skipped: changes.skipped.len() as u64,
        ..Stat::default()
    };
    let mut rows = Vec::with_capacity(changes.entries.len());
    for change in &changes.entries {
        stat.files += 1;
        stat.risky += u64::from(change.risk.is_some());
        rows.push((
            quote_path(&change.path),
            row(layer, change, &mut stat)?,
            change.risk,
        ));
    }
    for skipped in &changes.skipped {
        let note = format!("not applied: {}", skipped.reason.as_str());
        rows.push((quote_path(&skipped.path), Row::Note(note), None));
    }
    let width = rows
        .iter()
        .map(|(name, ..)| name.chars().count())
        .max()
        .unwrap_or(0)
        .min(NAMES);
    let most = rows
        .iter()
        .map(|(_, row, _)| if let Row::Lines(i, d) = row { i + d } else { 0 })
        .max()
        .unwrap_or(0);
    for (name, row, risk) in rows {
        write!(out, " {name:width$} | ")?;
        match row {
            Row::Note(note) => write!(out, "{note}")?,
            Row::Lines(inserted, deleted) => {
                let scale = |n: u64| {
                    if most > SIGNS {
                        (n * SIGNS).div_ceil(most)
                    } else {
                        n
                    }
                };
                let bar = |sign: &str, n| sign.repeat(usize::try_from(scale(n)).unwrap_or(0));
                write!(out, "{:>5} ", inserted + deleted)?;
                painted(out, style, "\x1b[32m", &bar("+", inserted))?;
                painted(out, style, "\x1b[31m", &bar("-", deleted))?;
            }
        }
        if let Some(risk) = risk {
            painted(out, style, "\x1b[33m", &format!("  risky: {risk}"))?;
        }
        writeln!(out)?;
    }
    let (files, plus, minus) = (stat.files, stat.insertions, stat.deletions);
    write!(
        out,
        " {files} changed, {plus} insertions(+), {minus} deletions(-)"
    )?;
    for (count, what) in [(stat.risky, "risky"), (stat.skipped, "not applied")] {
        if count > 0 {
            write!(out, ", {count} {what}")?;
        }
    }
    writeln!(out)?;
    Ok(stat)
}

fn painted(out: &mut dyn Write, style: Style, color: &str, text: &str) -> std::io::Result<()> {
    if style.color && !text.is_empty() {
        write!(out, "{color}{text}\x1b[m")
    } else {
        write!(out, "{text}")
    }
}

fn row(layer: &Layer, change: &Change, stat: &mut Stat) -> Result<Row, DiffError> {
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    let is = |kind| before.is_some_and(|n: &Node| n.kind == kind) || after.is_some_and(|n| n.kind == kind);
    if is(NodeKind::Directory) {
        return Ok(Row::Note(match change.kind {
            ChangeKind::Added => "new directory".into(),
            ChangeKind::Deleted => "removed directory".into(),
            ChangeKind::TypeChanged => types(change),
            _ => modes(change),
        }));
    }
    if change.kind == ChangeKind::ModeChanged {
        return Ok(Row::Note(modes(change)));
    }
    let old = Side::load(layer.lower(), &change.path, before, layer.limits())?;
    let new = Side::load(layer.upper(), &change.path, after, layer.limits())?;
    let (Some(x), Some(y)) = (old.text(), new.text()) else {
        stat.binary += 1;
        return Ok(Row::Note(format!(
            "Bin {} -> {}",
            old.describe(before),
            new.describe(after)
        )));
    };
    let (inserted, deleted) = Lines::compare(x, y).count();
    stat.insertions += inserted;
    stat.deletions += deleted;
    Ok(if change.kind == ChangeKind::TypeChanged {
        Row::Note(types(change))
    } else {
        Row::Lines(inserted, deleted)
    })
}

fn modes(change: &Change) -> String {
    let mode = |n: &Option<Node>| n.as_ref().map_or(0, |n| n.mode);
    format!("mode {:03o} -> {:03o}", mode(&change.before), mode(&change.after))
}

fn types(change: &Change) -> String {
    let word = |n: &Option<Node>| match n.as_ref().map(|n| n.kind) {
        Some(NodeKind::File) => "file",
        Some(NodeKind::Directory) => "directory",
        Some(NodeKind::Symlink) => "symbolic link",
        Some(NodeKind::Special) => "special file",
        None => "nothing",
    };
    format!("{} -> {}", word(&change.before), word(&change.after))
}
