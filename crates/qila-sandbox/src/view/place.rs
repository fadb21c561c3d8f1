//! Making places in the new root to mount over.
use super::mounts::{directory, inside};
use qila_plan::PathKind;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::io::Errno;

pub(super) fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

/// A path of the view, from the new root on.
pub(super) fn relative(target: &str) -> &str {
    target.trim_start_matches('/')
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(head, _)| head)
}

pub(super) fn exists(root: BorrowedFd<'_>, path: &str) -> bool {
    inside(root, path).is_ok()
}

/// Makes sure that something is there to mount over, and opens it.
pub(super) fn place(root: BorrowedFd<'_>, target: &str, kind: PathKind) -> Result<OwnedFd, Errno> {
    let path = relative(target);
    match kind {
        PathKind::Directory => make_dirs(root, path)?,
        PathKind::File => {
            make_dirs(root, parent(path))?;
            match write_file(root, path, b"", 0o644) {
                Ok(_) | Err(Errno::EXIST) => {}
                // A read-only parent that already has it.
                Err(Errno::ROFS) if exists(root, path) => {}
                Err(e) => return Err(e),
            }
        }
    }
    inside(root, path)
}

pub(super) fn make_dirs(root: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let so_far = path.get(..end).unwrap_or(path);
        if so_far.is_empty() || so_far.ends_with('/') {
            continue;
        }
        match mkdirat(root, so_far, mode(0o755)) {
            Ok(()) => {}
            // A link on the way would lead out of the new root while the host's tree is still the real one.
            Err(Errno::EXIST | Errno::ROFS) => drop(directory(root, so_far)?),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

pub(super) fn link(root: BorrowedFd<'_>, target: &str, to: &str) -> Result<(), Errno> {
    let path = relative(target);
    make_dirs(root, parent(path))?;
    match symlinkat(to, root, path) {
        // A readable parent shows it already.
        Err(Errno::EXIST | Errno::ROFS) if exists(root, path) => Ok(()),
        other => other,
    }
}

/// Makes a file that is not there yet.
pub(super) fn write_file(root: impl AsFd, path: &str, bytes: &[u8], bits: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(root, path, flags, mode(bits))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest)?;
        rest = rest.get(n..).unwrap_or(&[]);
    }
    Ok(fd)
}
