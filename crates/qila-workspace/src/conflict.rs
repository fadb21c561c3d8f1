//! What changed on the host while the agent worked.
use crate::baseline::Mark;
use crate::change::path_entry;
use crate::error::Context;
use crate::{At, Change, ChangeKind, Node, NodeKind, os};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// How the host's version differs from what the agent started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConflictReason {
    /// It was changed, or created, after the launch.
    Changed,
    /// The agent worked on it, and on the host it was removed or moved away after the launch.
    Removed,
}

/// A path that both the agent and somebody on the host changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Path relative to the workspace.
    pub path: PathBuf,
    /// What happened on the host.
    pub reason: ConflictReason,
}

impl Conflict {
    /// The reason in words.
    pub fn reason_text(&self) -> &'static str {
        match self.reason {
            ConflictReason::Changed => "changed or created on the host after the run began",
            ConflictReason::Removed => "removed or moved on the host after the run began",
        }
    }
}

impl Serialize for Conflict {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        path_entry(&mut map, &self.path)?;
        map.serialize_entry("conflict", &self.reason)?;
        map.end()
    }
}

/// The conflicts among the changes. Changes that the host already has are none: the walk never lists them.
pub(crate) fn conflicts(lower: BorrowedFd<'_>, changes: &[Change], mark: Mark) -> Result<Vec<Conflict>, At> {
    let mut found = Vec::new();
    for change in changes {
        let reason = match &change.before {
            // A directory's change time moves with every entry in it. What it holds is judged entry by entry, and it
            // is only ever removed when empty.
            Some(before) if before.kind == NodeKind::Directory => None,
            Some(before) => mark.is_before(before.id.ctime).then_some(ConflictReason::Changed),
            None => removed(lower, change, mark)?.then_some(ConflictReason::Removed),
        };
        if let Some(reason) = reason {
            found.push(Conflict {
                path: change.path.clone(),
                reason,
            });
        }
    }
    Ok(found)
}

/// Whether something that the agent had from the workspace is no longer there.
///
/// A file that the agent moved carries the same mark as one that the host removed; they are told apart by whether the
/// host's directory was touched since. Directories are never moved inside a layer (`redirect_dir` is off).
fn removed(lower: BorrowedFd<'_>, change: &Change, mark: Mark) -> Result<bool, At> {
    let (ChangeKind::Added, true, Some(after)) = (change.kind, change.copied_up, &change.after) else {
        return Ok(false);
    };
    if after.kind == NodeKind::Directory {
        return Ok(true);
    }
    let Some(parent) = change.path.parent() else {
        return Ok(false);
    };
    match os::open_dir(lower, parent) {
        Ok(dir) => {
            let stat = rustix::fs::fstat(&dir).at("reading", parent)?;
            Ok(mark.is_before(Node::of(&stat).id.mtime))
        }
        // The directory itself is the agent's own.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
        Err(e) => Err(At::new("opening", parent, e)),
    }
}
