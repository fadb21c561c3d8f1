//! Undoes an apply that did not reach its commit point, or tidies up after one that did.
use super::commit::{place, rename_new, unsupported};
use super::journal::{FILE, Journal, Op, Seal, former, fresh};
use super::{ApplyError, journal};
use crate::error::Context;
use crate::{At, LayerState, Node, os, remove_tree, state};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Mode, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What was found of an apply that had been cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Recovered {
    /// It had been done wholly; only its staging directory was still there.
    pub was_complete: bool,
    /// Operations undone.
    pub undone: usize,
    /// Paths changed on the host after the apply was cut off, and left as they are.
    #[serde(skip)]
    pub kept: Vec<PathBuf>,
    /// The directory in the workspace that holds the former versions of `kept`.
    pub saved_in: Option<String>,
}

pub(super) fn recover(run: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<Option<Recovered>, ApplyError> {
    let Some(journal) = Journal::read(run)? else {
        return Ok(None);
    };
    let state = LayerState::read(run)?;
    let mut recovered = Recovered {
        was_complete: journal.is_done(&state),
        ..Recovered::default()
    };
    let staging = match os::open_dir(root, Path::new(&journal.staging)) {
        Ok(fd) => Some(fd),
        Err(Errno::NOENT) => None,
        Err(e) => return Err(At::new("opening", Path::new(&journal.staging), e).into()),
    };
    if let (false, Some(staging)) = (recovered.was_complete, &staging) {
        for op in journal.ops.iter().rev() {
            match undo(root, staging.as_fd(), op)? {
                Undone::Yes => recovered.undone += 1,
                Undone::NotNeeded => {}
                Undone::Kept => recovered.kept.push(op.path().to_owned()),
            }
        }
        rustix::fs::syncfs(root).at("syncing", Path::new("."))?;
    }
    if recovered.kept.is_empty() {
        remove_tree(root, OsStr::new(&journal.staging))?;
    } else {
        recovered.saved_in = Some(journal.staging);
    }
    let file = Path::new(journal::FILE);
    state::remove(run, Path::new(FILE)).at("removing", file)?;
    rustix::fs::fsync(run).at("syncing", Path::new("run"))?;
    Ok(Some(recovered))
}

pub(super) enum Undone {
    Yes,
    NotNeeded,
    /// Someone changed it since; what they made stays.
    Kept,
}

pub(super) fn undo(root: BorrowedFd<'_>, staging: BorrowedFd<'_>, op: &Op) -> Result<Undone, At> {
    let path = op.path();
    let (dir, name) = match os::open_parent(root, path) {
        Ok(found) => found,
        // Its directory is not there: the operation never was, or the host removed all since.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Undone::NotNeeded),
        Err(e) => return Err(At::new("opening the directory of", path, e)),
    };
    let dir = dir.as_fd();
    match op {
        Op::Put { slot, new, old, .. } => undo_put(staging, dir, name, *slot, new, old.as_ref()),
        Op::Take { slot, .. } => undo_take(staging, dir, name, *slot),
        Op::Rmdir { mode, .. } => undo_rmdir(dir, name, *mode),
        Op::Mode { from, to, ino, .. } => undo_mode(dir, name, *from, *to, *ino),
    }
    .at("undoing the change of", path)
}

fn node(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Node>, Errno> {
    Ok(os::stat_if_there(dir, name)?.as_ref().map(Node::of))
}

fn undo_put(
    staging: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    name: &OsStr,
    slot: usize,
    new: &Seal,
    old: Option<&Seal>,
) -> Result<Undone, Errno> {
    let fresh = fresh(slot);
    let slot_node = node(staging, OsStr::new(&fresh))?;
    if slot_node.as_ref().is_some_and(|n| n.id.ino == new.ino) {
        // Never placed; but without an exchange, the former may have been taken out already.
        return undo_take(staging, dir, name, slot);
    }
    let target = node(dir, name)?;
    let intact = match &target {
        Some(node) if new.is_dir => {
            new.fits(node) && os::is_empty(os::open_dir(dir, Path::new(name))?.as_fd())?
        }
        Some(node) => new.fits(node),
        None if old.is_none() => return Ok(Undone::NotNeeded),
        None => false,
    };
    if !intact {
        return Ok(Undone::Kept);
    }
    if slot_node.is_some() {
        match renameat_with(staging, &fresh, dir, name, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(Undone::Yes),
            Err(e) if unsupported(e) => {}
            Err(e) => return Err(e),
        }
    }
    if new.is_dir {
        rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?;
    } else {
        rename_new(dir, name, staging, OsStr::new(&fresh))?;
    }
    undo_take(staging, dir, name, slot)?;
    Ok(Undone::Yes)
}

fn undo_take(
    staging: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    name: &OsStr,
    slot: usize,
) -> Result<Undone, Errno> {
    match place(staging, &former(slot), dir, name) {
        Ok(()) => Ok(Undone::Yes),
        Err(Errno::NOENT) => Ok(Undone::NotNeeded),
        Err(Errno::EXIST) => Ok(Undone::Kept),
        Err(e) => Err(e),
    }
}

fn undo_rmdir(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<Undone, Errno> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Ok(()) => os::set_mode(dir, name, mode).map(|()| Undone::Yes),
        Err(Errno::EXIST) => Ok(Undone::NotNeeded),
        Err(e) => Err(e),
    }
}

fn undo_mode(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    from: u32,
    to: u32,
    ino: Option<u64>,
) -> Result<Undone, Errno> {
    match node(dir, name)? {
        Some(n) if n.mode == to && ino.is_none_or(|ino| ino == n.id.ino) => {
            os::set_mode(dir, name, from).map(|()| Undone::Yes)
        }
        _ => Ok(Undone::NotNeeded),
    }
}
