//! Covering what is not to be seen: nothing, read only, mounted over it.
use super::mounts::{attach, attach_at, clone_tree, directory, inside};
use super::place::{make_dirs, mode, write_file};
use super::{Failed, named};
use qila_plan::PathKind;
use qila_sys::mount::{MountAttr, restrict};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, mkdirat, statat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::borrow::Cow;

const HERE: &str = ".qila/blank";

/// An empty directory and an empty file in a mount that is read only and starts no programs: copies of it are so from the
/// beginning.
pub(super) struct Blank(OwnedFd);

impl Blank {
    pub(super) fn new(root: BorrowedFd<'_>) -> Result<Blank, Errno> {
        mkdirat(root, HERE, mode(0o755))?;
        mkdirat(root, ".qila/blank/empty", mode(0o555))?;
        write_file(root, ".qila/blank/none", b"", 0o444)?;
        let tree = clone_tree(root, HERE)?;
        restrict(
            tree.as_fd(),
            MountAttr {
                read_only: true,
                no_exec: true,
            },
            false,
        )?;
        attach(&tree, directory(root, HERE)?)?;
        Ok(Blank(tree))
    }

    fn copy(&self, kind: PathKind) -> Result<OwnedFd, Errno> {
        let name = if kind == PathKind::Directory {
            "empty"
        } else {
            "none"
        };
        clone_tree(self.0.as_fd(), name)
    }

    /// Covers a path of the new root, if there is anything at it.
    pub(super) fn cover(&self, root: BorrowedFd<'_>, path: &str, kind: PathKind) -> Result<(), Errno> {
        match inside(root, path) {
            Ok(place) => attach(self.copy(kind)?, place),
            Err(_) => Ok(()), // nothing there to hide
        }
    }

    /// Mounts a procfs of the process namespace, read only, with some names covered.
    pub(super) fn proc(&self, root: BorrowedFd<'_>, masked: &[Cow<'static, str>]) -> Result<(), Failed> {
        named(|| "making /proc".into(), make_dirs(root, "proc"))?;
        let proc = named(
            || "mounting procfs (is the host's own /proc partly covered?)".into(),
            procfs(true),
        )?;
        let placed = directory(root, "proc").and_then(|place| attach(&proc, place));
        named(|| "placing /proc".into(), placed)?;
        for name in masked {
            // Looked up in the procfs itself, whose names nobody can change.
            let kind = match statat(&proc, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                Err(e) => return Err((format!("looking at /proc/{name}"), e)),
                Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => PathKind::Directory,
                Ok(_) => PathKind::File,
            };
            let covered = self.copy(kind).and_then(|copy| attach_at(copy, &proc, name));
            named(|| format!("masking /proc/{name}"), covered)?;
        }
        Ok(())
    }
}

pub(super) fn procfs(read_only: bool) -> Result<OwnedFd, Errno> {
    let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(fs.as_fd())?;
    let mut attr = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    if read_only {
        attr |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
}
