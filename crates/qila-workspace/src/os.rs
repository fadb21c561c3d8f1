//! File operations beneath a directory descriptor; nothing here follows a symbolic link or leaves the file system.
use crate::{Node, NodeKind};
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// Permission bits that are carried over: set-user-id, set-group-id and sticky never are.
pub(crate) const PERMISSIONS: u32 = 0o777;
/// A resolution that raced with a rename is tried again this often (the kernel answers EAGAIN).
const RACES: u32 = 64;
/// Longest value of an overlay attribute that has a meaning here.
const ATTRIBUTE: usize = 256;

const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens beneath `dir`, refusing symbolic links, mount points and `..` anywhere in the path.
pub(crate) fn open(dir: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    for _ in 0..RACES {
        match openat2(dir, path, flags, Mode::from_raw_mode(mode), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens a directory for listing.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    open(dir, path, READ | OFlags::DIRECTORY, 0)
}

/// Opens a regular file for reading; anything else is refused even if it took the file's place since it was looked at.
pub(crate) fn open_file(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let fd = open(dir, Path::new(name), READ, 0)?;
    match Node::of(&rustix::fs::fstat(&fd)?).kind {
        NodeKind::File => Ok(fd),
        _ => Err(Errno::STALE),
    }
}

/// Looks at one entry of a directory.
pub(crate) fn stat(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Looks at one entry of a directory that need not exist.
pub(crate) fn stat_if_there(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match stat(dir, name) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The entry as a [`Node`], with a symbolic link's target.
pub(crate) fn node_if_there(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<Node>, Errno> {
    let Some(stat) = stat_if_there(dir, name)? else {
        return Ok(None);
    };
    let mut node = Node::of(&stat);
    if node.kind == NodeKind::Symlink {
        node.target = Some(read_link(dir, name)?);
    }
    Ok(Some(node))
}

/// Where a symbolic link points.
pub(crate) fn read_link(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OsString, Errno> {
    let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()))
}

/// The names in a directory, sorted; more than `most` is `E2BIG`.
pub(crate) fn names(dir: BorrowedFd<'_>, most: usize) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() >= most {
            return Err(Errno::TOOBIG);
        }
        names.push(OsStr::from_bytes(name).to_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a directory has no entry.
pub(crate) fn is_empty(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    match names(dir, 0) {
        Ok(_) => Ok(true),
        Err(Errno::TOOBIG) => Ok(false),
        Err(e) => Err(e),
    }
}

/// An extended attribute, if it is set. A value longer than any that has a meaning is cut.
pub(crate) fn attribute(fd: BorrowedFd<'_>, name: &str) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = [0u8; ATTRIBUTE];
    match rustix::fs::fgetxattr(fd, name, &mut value) {
        Ok(len) => Ok(Some(value.iter().take(len).copied().collect())),
        Err(Errno::RANGE) => Ok(Some(value.to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Sets the permission bits of a file or directory, also of one that the caller may not open.
///
/// The entry is pinned by an `O_PATH` descriptor first, so a symbolic link put in its place is never followed. Set-id
/// and sticky bits that the entry has on the host (a directory shared by a group) stay.
pub(crate) fn set_mode(dir: BorrowedFd<'_>, name: &OsStr, mode: u32) -> Result<(), Errno> {
    let fd = open(dir, Path::new(name), OFlags::PATH, 0)?;
    let stat = rustix::fs::fstat(&fd)?;
    match Node::of(&stat).kind {
        NodeKind::File | NodeKind::Directory => {}
        _ => return Err(Errno::STALE),
    }
    let mode = (stat.st_mode & 0o7000) | (mode & PERMISSIONS);
    let by_fd = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::chmodat(CWD, by_fd, Mode::from_raw_mode(mode), AtFlags::empty())
}

/// Splits a relative path into the directory and the last name.
pub(crate) fn split(path: &Path) -> Result<(&Path, &OsStr), Errno> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(Errno::INVAL),
    }
}

/// Opens the directory that a relative path's last name lies in.
pub(crate) fn open_parent<'p>(root: BorrowedFd<'_>, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Errno> {
    let (parent, name) = split(path)?;
    Ok((open_dir(root, parent)?, name))
}
