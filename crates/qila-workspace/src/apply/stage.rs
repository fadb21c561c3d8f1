//! Builds everything new in the staging directory, where nobody looks for it yet.
use super::Broken;
use super::journal::{Seal, fresh};
use super::step::Steps;
use crate::error::Context;
use crate::{At, Change, ChangeKind, Node, NodeKind, content, os};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fsync, syncfs};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;

/// From this many entries on, one sync of the file system is cheaper than one per file.
const FEW: usize = 64;

/// What waits in a slot for a change; the slot is the change's index.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) seal: Option<Seal>,
    pub(super) hash: Option<[u8; 32]>,
    pub(super) bytes: u64,
}

/// Makes the staging directory at the workspace's root: on the same file system as what is replaced.
pub(super) fn make(root: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, At> {
    let path = Path::new(name);
    rustix::fs::mkdirat(root, name, Mode::RWXU).at("making", path)?;
    os::open_dir(root, path).at("opening", path)
}

/// Stages each change that puts something new in place.
pub(super) fn fill(
    upper: BorrowedFd<'_>,
    staging: BorrowedFd<'_>,
    changes: &[Change],
    steps: &mut dyn Steps,
) -> Result<Vec<Staged>, Broken> {
    let each = changes.len() <= FEW;
    let mut all = Vec::with_capacity(changes.len());
    for (slot, change) in changes.iter().enumerate() {
        let staged = match &change.after {
            Some(node) if change.kind != ChangeKind::ModeChanged => {
                let staged = one(upper, staging, &change.path, node, &fresh(slot), each)
                    .at("staging", &change.path)?;
                steps.reached("entry staged")?;
                staged
            }
            _ => Staged::default(),
        };
        all.push(staged);
    }
    Ok(all)
}

fn one(
    upper: BorrowedFd<'_>,
    staging: BorrowedFd<'_>,
    path: &Path,
    node: &Node,
    slot: &str,
    durable: bool,
) -> Result<Staged, Errno> {
    let slot = OsStr::new(slot);
    let mut staged = Staged::default();
    match node.kind {
        NodeKind::File => {
            staged.hash = Some(file(upper, staging, path, node, slot, durable)?);
            staged.bytes = node.size;
        }
        NodeKind::Symlink => {
            rustix::fs::symlinkat(node.target.as_deref().unwrap_or_default(), staging, slot)?;
        }
        NodeKind::Directory => {
            rustix::fs::mkdirat(staging, slot, Mode::RWXU)?;
            // The umask may have taken bits away that are needed to fill it.
            os::set_mode(staging, slot, 0o700)?;
        }
        NodeKind::Special => return Err(Errno::INVAL),
    }
    staged.seal = Some(Seal::of(&Node::of(&os::stat(staging, slot)?)));
    Ok(staged)
}

fn file(
    upper: BorrowedFd<'_>,
    staging: BorrowedFd<'_>,
    path: &Path,
    node: &Node,
    slot: &OsStr,
    durable: bool,
) -> Result<[u8; 32], Errno> {
    let (dir, name) = os::open_parent(upper, path)?;
    let from = os::open_file(dir.as_fd(), name)?;
    // What is applied is what was looked at.
    let now = Node::of(&rustix::fs::fstat(&from)?);
    if (now.id, now.size) != (node.id, node.size) {
        return Err(Errno::STALE);
    }
    let to = os::open(
        staging,
        Path::new(slot),
        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
        0o600,
    )?;
    let hash = content::copy(from.as_fd(), to.as_fd(), node.size)?;
    rustix::fs::fchmod(&to, Mode::from_raw_mode(node.mode & os::PERMISSIONS))?;
    if durable {
        fsync(&to)?;
    }
    Ok(hash)
}

/// Makes all that was staged survive a power cut.
pub(super) fn sync(root: BorrowedFd<'_>, staging: BorrowedFd<'_>, staged: &[Staged]) -> Result<(), Errno> {
    if staged.len() > FEW {
        return syncfs(root);
    }
    fsync(staging)?;
    fsync(root)
}
