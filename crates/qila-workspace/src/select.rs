//! Which of the changes an apply is about.
use crate::Change;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The changes that the given paths name, and the paths that name none.
///
/// A path selects itself and all beneath it, and the new directories above it that it needs. `.` selects everything.
pub(crate) fn select(changes: &[Change], paths: &[PathBuf]) -> (Vec<Change>, Vec<PathBuf>) {
    let wanted: Vec<PathBuf> = paths.iter().map(|p| normal(p)).collect();
    let mut keep = BTreeSet::new();
    let mut unknown = Vec::new();
    for (path, given) in wanted.iter().zip(paths) {
        let before = keep.len();
        let hits = changes
            .iter()
            .filter(|c| c.path.starts_with(path))
            .map(|c| c.path.as_path());
        keep.extend(hits);
        if keep.len() == before && !changes.iter().any(|c| c.path.starts_with(path)) {
            unknown.push(given.clone());
        }
    }
    let needed: BTreeSet<&Path> = keep.iter().flat_map(|p| p.ancestors()).collect();
    let chosen = changes
        .iter()
        .filter(|c| {
            keep.contains(c.path.as_path()) || (needed.contains(c.path.as_path()) && makes_directory(c))
        })
        .cloned()
        .collect();
    (chosen, unknown)
}

/// Whether the paths name this change itself, not only a directory above it.
pub(crate) fn is_named(change: &Change, paths: &[PathBuf]) -> bool {
    paths.iter().any(|p| normal(p) == change.path)
}

fn makes_directory(change: &Change) -> bool {
    let is_dir = |n: &Option<crate::Node>| n.as_ref().is_some_and(|n| n.kind == crate::NodeKind::Directory);
    is_dir(&change.after) && !is_dir(&change.before)
}

/// Without `.` components and trailing slashes. `..` stays, and so matches nothing.
fn normal(path: &Path) -> PathBuf {
    path.components()
        .filter(|c| !matches!(c, Component::CurDir))
        .collect()
}
