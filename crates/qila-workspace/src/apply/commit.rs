//! Performs one operation on the workspace.
use super::Broken;
use super::journal::{Op, Seal, former, fresh};
use crate::conflict::ConflictReason;
use crate::error::Context;
use crate::{At, Conflict, Node, os};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, RenameFlags, fsync, renameat_with, syncfs};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

/// From this many operations on, one sync of the file system is cheaper than one per directory.
const FEW: usize = 64;

/// Performs it. What it moves out of the way is compared with what the changes were made against: someone on the host
/// may have been quicker, and then the apply is undone and nothing of theirs is lost.
pub(super) fn perform(root: BorrowedFd<'_>, staging: BorrowedFd<'_>, op: &Op) -> Result<(), Broken> {
    let path = op.path();
    let (dir, name) = match os::open_parent(root, path) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            return Err(conflict(path, ConflictReason::Removed));
        }
        Err(e) => return Err(At::new("opening the directory of", path, e).into()),
    };
    let dir = dir.as_fd();
    match op {
        Op::Put { slot, old: None, .. } => {
            place(staging, &fresh(*slot), dir, name).map_err(|e| lost(path, "placing", e))
        }
        Op::Put {
            slot, old: Some(old), ..
        } => {
            let held = replace(staging, *slot, dir, name).map_err(|e| lost(path, "replacing", e))?;
            check(staging, &held, old, path)
        }
        Op::Take { slot, old, .. } => {
            let held = former(*slot);
            rename_new(dir, name, staging, OsStr::new(&held)).map_err(|e| lost(path, "taking away", e))?;
            check(staging, &held, old, path)
        }
        Op::Rmdir { .. } => rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
            .map_err(|e| lost(path, "removing directory", e)),
        Op::Mode { to, ino, .. } => {
            let node = Node::of(&os::stat(dir, name).map_err(|e| lost(path, "reading", e))?);
            if ino.is_some_and(|ino| ino != node.id.ino) {
                return Err(conflict(path, ConflictReason::Changed));
            }
            Ok(os::set_mode(dir, name, *to).at("setting the mode of", path)?)
        }
    }
}

/// Exchanges the slot with what is at the name, in one step where the file system can. Returns where the former lies.
fn replace(staging: BorrowedFd<'_>, slot: usize, dir: BorrowedFd<'_>, name: &OsStr) -> Result<String, Errno> {
    let new = fresh(slot);
    match renameat_with(staging, &new, dir, name, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(new),
        Err(e) if unsupported(e) => {
            let old = former(slot);
            rename_new(dir, name, staging, OsStr::new(&old))?;
            place(staging, &new, dir, name)?;
            Ok(old)
        }
        Err(e) => Err(e),
    }
}

pub(super) fn place(
    staging: BorrowedFd<'_>,
    slot: &str,
    dir: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<(), Errno> {
    rename_new(staging, OsStr::new(slot), dir, name)
}

/// Renames to a name that must be free.
pub(super) fn rename_new(
    from: BorrowedFd<'_>,
    old: &OsStr,
    to: BorrowedFd<'_>,
    new: &OsStr,
) -> Result<(), Errno> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // A file system without that flag (some network ones): looked at first, which leaves a moment open.
        Err(e) if unsupported(e) => match os::stat_if_there(to, new)? {
            Some(_) => Err(Errno::EXIST),
            None => rustix::fs::renameat(from, old, to, new),
        },
        other => other,
    }
}

pub(super) fn unsupported(e: Errno) -> bool {
    matches!(e, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

fn check(staging: BorrowedFd<'_>, held: &str, old: &Seal, path: &Path) -> Result<(), Broken> {
    let node = Node::of(&os::stat(staging, OsStr::new(held)).at("checking", path)?);
    if old.fits(&node) {
        Ok(())
    } else {
        Err(conflict(path, ConflictReason::Changed))
    }
}

fn conflict(path: &Path, reason: ConflictReason) -> Broken {
    Broken::Conflict(Conflict {
        path: path.to_owned(),
        reason,
    })
}

/// Errors that mean somebody on the host was quicker are conflicts.
fn lost(path: &Path, action: &'static str, e: Errno) -> Broken {
    match e {
        Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR => conflict(path, ConflictReason::Changed),
        Errno::NOENT => conflict(path, ConflictReason::Removed),
        e => At::new(action, path, e).into(),
    }
}

/// Makes all operations survive a power cut.
pub(super) fn sync(root: BorrowedFd<'_>, staging: BorrowedFd<'_>, ops: &[Op]) -> Result<(), At> {
    if ops.len() > FEW {
        return syncfs(root).at("syncing", Path::new("."));
    }
    fsync(staging).at("syncing", Path::new("staging"))?;
    let parents: BTreeSet<&Path> = ops.iter().filter_map(|op| op.path().parent()).collect();
    for parent in parents {
        match os::open_dir(root, parent) {
            Ok(dir) => fsync(&dir).at("syncing", parent)?,
            // It was removed, or may no longer be read: then the file system as a whole.
            Err(_) => return syncfs(root).at("syncing", Path::new(".")),
        }
    }
    Ok(())
}
