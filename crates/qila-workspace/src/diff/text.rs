//! Line comparison of two texts.
use super::Pen;
use similar::{Algorithm, DiffOp, capture_diff_slices_deadline, group_diff_ops};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Lines shown around a change.
const CONTEXT: usize = 3;
/// After this long the rest of a file is shown as replaced, which is right but not the shortest.
const PATIENCE: Duration = Duration::from_millis(500);

/// Two texts as lines, and how one becomes the other.
pub(super) struct Lines<'a> {
    old: Vec<&'a [u8]>,
    new: Vec<&'a [u8]>,
    ops: Vec<DiffOp>,
}

impl<'a> Lines<'a> {
    pub(super) fn compare(old: &'a [u8], new: &'a [u8]) -> Lines<'a> {
        let (old, new) = (split(old), split(new));
        // Numbers for lines: each comparison is then one of integers, however long and alike the lines are.
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let mut numbered = |lines: &[&'a [u8]]| -> Vec<usize> {
            lines
                .iter()
                .map(|line| {
                    let next = numbers.len();
                    *numbers.entry(line).or_insert(next)
                })
                .collect()
        };
        let (a, b) = (numbered(&old), numbered(&new));
        let deadline = Instant::now().checked_add(PATIENCE);
        let ops = capture_diff_slices_deadline(Algorithm::Myers, &a, &b, deadline);
        Lines { old, new, ops }
    }

    /// Lines inserted and deleted.
    pub(super) fn count(&self) -> (u64, u64) {
        self.ops
            .iter()
            .filter(|op| !matches!(op, DiffOp::Equal { .. }))
            .fold((0, 0), |(i, d), op| {
                (i + op.new_range().len() as u64, d + op.old_range().len() as u64)
            })
    }

    pub(super) fn write(&self, pen: &mut Pen<'_>) -> io::Result<()> {
        for group in group_diff_ops(self.ops.clone(), CONTEXT) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else {
                continue;
            };
            let old = first.old_range().start..last.old_range().end;
            let new = first.new_range().start..last.new_range().end;
            pen.hunk(&format!("@@ -{} +{} @@", span(&old), span(&new)))?;
            for op in &group {
                let (old, new) = (op.old_range(), op.new_range());
                if matches!(op, DiffOp::Equal { .. }) {
                    lines(pen, b' ', &self.old, old)?;
                } else {
                    lines(pen, b'-', &self.old, old)?;
                    lines(pen, b'+', &self.new, new)?;
                }
            }
        }
        Ok(())
    }
}

fn lines(pen: &mut Pen<'_>, sign: u8, lines: &[&[u8]], range: Range<usize>) -> io::Result<()> {
    lines
        .get(range)
        .unwrap_or_default()
        .iter()
        .try_for_each(|line| pen.line(sign, line))
}

/// Lines with their newlines.
fn split(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|b| *b == b'\n').collect()
}

/// A range as unified diffs write it: counted from one, an empty one by the line before it.
fn span(range: &Range<usize>) -> String {
    match range.len() {
        0 => format!("{},0", range.start),
        1 => (range.start + 1).to_string(),
        n => format!("{},{n}", range.start + 1),
    }
}
