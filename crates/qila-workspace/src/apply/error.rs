//! Why an apply did not happen, and what to do about it.
use super::Recovered;
use crate::state::StateError;
use crate::{At, BaselineError, Conflict, RemoveError, WalkError, quote_path};
use std::path::{Path, PathBuf};

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// All of the layer was applied before.
    #[error("the changes of this run were already applied; `qila discard` it to free the space")]
    AlreadyApplied,
    /// Another apply is at work on this run or this workspace.
    #[error("another apply is at work on this run or workspace; try again when it has ended")]
    Busy,
    /// It is not known what the workspace looked like at launch.
    #[error(
        "the state of the workspace at launch was not recorded, so conflicts cannot be found; compare with `qila diff` and apply with `--overwrite`"
    )]
    NoBaseline,
    /// The workspace directory is another one than at launch.
    #[error(
        "the workspace was replaced by another directory since the run; put it back, or copy what you need from `qila diff`"
    )]
    WorkspaceReplaced,
    /// Paths changed on both sides.
    #[error("{} changed on the host too; nothing was applied. Apply other paths by naming them, or all with `--overwrite`:{}", count(.0.len()), list(.0.iter().map(|c| (c.path.as_path(), c.reason_text()))))]
    Conflicts(Vec<Conflict>),
    /// Paths that the host would obey without being asked.
    #[error("{} may run code on the host; nothing was applied. Look at them, then name each, or use `--include-risky` or `--skip-risky`:{}", count(.0.len()), list(.0.iter().map(|(p, r)| (p.as_path(), *r))))]
    RiskyPaths(Vec<(PathBuf, &'static str)>),
    /// Named paths in which nothing changed.
    #[error("no change at the named path; see `qila diff --stat`:{}", list(.0.iter().map(|p| (p.as_path(), "unchanged"))))]
    NoSuchChange(Vec<PathBuf>),
    /// The layer could not be compared.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The disk, or a quota on it, is full.
    #[error("no space left on the workspace's file system; nothing was changed. Free some and apply again")]
    NoSpace(#[source] At),
    /// A step failed and all before it was undone.
    #[error("the apply failed and was undone; nothing was changed")]
    Failed(#[source] At),
    /// A step failed, and so did undoing it.
    #[error(
        "the apply failed and could not be wholly undone; the journal is kept. Mend the cause, then run `qila apply` again to finish undoing"
    )]
    Stuck(#[source] At),
    /// An earlier apply had been cut off, and some paths changed on the host since.
    #[error("an earlier apply was cut off; undoing it left {} as changed on the host since. Their former versions are in {}", count(.0.kept.len()), .0.saved_in.as_deref().unwrap_or("the workspace"))]
    Recovered(Recovered),
    /// The locks, or the run's state, are not usable.
    #[error(transparent)]
    State(#[from] StateError),
    /// The baseline is damaged.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// The staging directory of an apply that was cut off could not be removed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// A system call failed before anything was changed.
    #[error("cannot begin; nothing was changed")]
    System(#[from] At),
}

const LISTED: usize = 20;

fn count(n: usize) -> String {
    if n == 1 {
        "1 path".into()
    } else {
        format!("{n} paths")
    }
}

fn list<'a>(items: impl ExactSizeIterator<Item = (&'a Path, &'a str)>) -> String {
    let more = items.len().saturating_sub(LISTED);
    let mut text: String = items
        .take(LISTED)
        .map(|(p, why)| format!("\n  {}: {why}", quote_path(p)))
        .collect();
    if more > 0 {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}
