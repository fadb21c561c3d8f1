//! Places in the new root: always beneath it, whatever links the layers made.
use qila_workspace::remove_tree;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The parts of a path. None: it leads upward.
pub(crate) fn parts(path: &[u8]) -> Option<Vec<&[u8]>> {
    let parts = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".");
    parts.map(|p| (p != b"..").then_some(p)).collect()
}

fn open(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    // A link of the image leads where it will lead once this is the root.
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, OsStr::from_bytes(path), flags, Mode::empty(), how)
}

/// The directory that these parts name; what is missing of it is made, and told to `made`.
pub(crate) fn directory(
    root: BorrowedFd<'_>,
    parts: &[&[u8]],
    made: &mut impl FnMut(&OwnedFd) -> Result<(), Errno>,
) -> Result<OwnedFd, Errno> {
    let to = |n: usize| match parts.get(..n).unwrap_or(parts) {
        [] => open(root, b"."),
        some => open(root, &some.join(&b'/')),
    };
    match to(parts.len()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    // The longest part of the way that is there; the whole is not.
    let (mut there, mut missing) = (0, parts.len());
    while missing - there > 1 {
        let half = usize::midpoint(there, missing);
        match to(half) {
            Ok(_) => there = half,
            Err(Errno::NOENT) => missing = half,
            Err(e) => return Err(e),
        }
    }
    let mut dir = to(there)?;
    for part in parts.get(there..).unwrap_or(&[]) {
        let name = OsStr::from_bytes(part);
        // A link that leads nowhere is in the way here, and stays.
        mkdirat(&dir, name, Mode::from_raw_mode(0o755))?;
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        dir = openat(&dir, name, flags, Mode::empty())?;
        made(&dir)?;
    }
    Ok(dir)
}

/// What is at a name; links are not followed.
pub(crate) fn kind(dir: impl AsFd, name: &[u8]) -> Result<Option<FileType>, Errno> {
    match statat(dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Removes whatever is at a name.
pub(crate) fn clear(dir: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    match kind(&dir, name)? {
        None => Ok(()),
        Some(kind) if kind.is_dir() => {
            // Listing needs more than a place to resolve beneath.
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            let listed = openat(&dir, ".", flags, Mode::empty())?;
            remove_tree(&listed, OsStr::from_bytes(name)).map_err(|_| Errno::IO)?;
            Ok(())
        }
        Some(_) => unlinkat(dir, OsStr::from_bytes(name), AtFlags::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_never_lead_upward() {
        assert_eq!(parts(b"./a//b/."), Some(vec![&b"a"[..], b"b"]));
        assert_eq!(parts(b"/etc/passwd"), Some(vec![&b"etc"[..], b"passwd"]));
        assert_eq!(parts(b"./"), Some(vec![]));
        assert_eq!(parts(b"a/../../b"), None);
    }
}
