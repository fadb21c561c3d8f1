//! Copies a layer: a tree that an agent made, of any depth, with what overlayfs notes in it. No link is followed. Where the
//! file system can share the blocks of two files, it does.
use crate::os;
use crate::spine::{Spine, open_any};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, copy_file_range, fgetxattr,
    flistxattr, fsetxattr, ioctl_ficlone, linkat, mkdirat, mknodat, openat, readlinkat, symlinkat, utimensat,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of one extended attribute, and of all names together.
const XATTR: usize = 64 * 1024;
/// Bytes copied by one call.
const CHUNK: usize = 1 << 30;
/// Longest path by which a second name of a file is made; a deeper one becomes a file of its own.
const PATH: usize = 4000;

/// A copy was not made.
#[derive(Debug, thiserror::Error)]
#[error("copying {}: {errno}", crate::quote_path(path))]
pub struct CopyError {
    path: PathBuf,
    errno: Errno,
}

impl CopyError {
    /// What the system said.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files, links and special files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Files whose blocks are shared.
    pub shared: u64,
}

struct Copier {
    top: OwnedFd,
    at: PathBuf,
    links: HashMap<(u64, u64), PathBuf>,
    done: Copied,
}

/// Copies the directory at `from`, a path beneath `source`, to a new directory `name` of `target`, as its entry `leaf`. The
/// source must not change meanwhile. On an error what was made so far stays, for the caller to remove.
pub fn copy_tree(
    source: impl AsFd,
    from: &Path,
    target: impl AsFd,
    name: &str,
    leaf: &str,
) -> Result<Copied, CopyError> {
    let fail = |errno| CopyError {
        path: from.to_owned(),
        errno,
    };
    let source = os::open_dir(source.as_fd(), from).map_err(fail)?;
    mkdirat(&target, name, Mode::RWXU).map_err(fail)?;
    let outer = os::open_dir(target.as_fd(), Path::new(name)).map_err(fail)?;
    mkdirat(&outer, leaf, Mode::RWXU).map_err(fail)?;
    let top = os::open_dir(outer.as_fd(), Path::new(leaf)).map_err(fail)?;
    let mut copier = Copier {
        top: rustix::io::fcntl_dupfd_cloexec(&top, 3).map_err(fail)?,
        at: PathBuf::new(),
        links: HashMap::new(),
        done: Copied::default(),
    };
    copier.tree(source, top).map_err(|errno| CopyError {
        path: copier.at.clone(),
        errno,
    })?;
    Ok(copier.done)
}

fn names(dir: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let mut out = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            out.push(OsStr::from_bytes(name.to_bytes()).to_owned());
        }
    }
    Ok(out)
}

impl Copier {
    fn tree(&mut self, source: OwnedFd, target: OwnedFd) -> Result<(), Errno> {
        let top = OsStr::new(".");
        let left = names(&source)?;
        let (mut from, mut to) = (
            Spine::new(top, source, left)?,
            Spine::new(top, target, Vec::new())?,
        );
        let mut here = to_here(&to)?;
        while from.depth() > 0 {
            while let Some((dir, name)) = from.next() {
                self.at.push(&name);
                let stat = rustix::fs::statat(dir, name.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    let inner = open_any(dir, &name)?;
                    let left = names(&inner)?;
                    mkdirat(&here, name.as_os_str(), Mode::RWXU)?;
                    let made = os::open_dir(here.as_fd(), Path::new(&name))?;
                    here = rustix::io::fcntl_dupfd_cloexec(&made, 3)?;
                    to.push(&name, made, Vec::new())?;
                    from.push(&name, inner, left)?;
                } else {
                    self.entry(dir, &name, &stat, here.as_fd())?;
                    self.at.pop();
                }
            }
            self.finish(&from, here.as_fd())?;
            from.pop()?;
            if let Some((outer, _)) = to.pop()? {
                here = rustix::io::fcntl_dupfd_cloexec(outer, 3)?;
            }
            self.at.pop();
            self.done.directories += 1;
        }
        Ok(())
    }

    /// A directory's own bits, once nothing more is made in it.
    fn finish(&self, from: &Spine, to: BorrowedFd<'_>) -> Result<(), Errno> {
        let Some(source) = from.current() else {
            return Ok(());
        };
        let stat = rustix::fs::fstat(source)?;
        attributes(source, to)?;
        rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & os::PERMISSIONS))?;
        rustix::fs::futimens(to, &times(&stat))
    }

    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        stat: &rustix::fs::Stat,
        to: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        self.done.files += 1;
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&id) {
                return linkat(&self.top, first, to, name, AtFlags::empty());
            }
            if self.at.as_os_str().len() < PATH {
                self.links.insert(id, self.at.clone());
            }
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(dir, name, stat, to)?,
            FileType::Symlink => symlinkat(readlinkat(dir, name, Vec::new())?, to, name)?,
            // Also how overlayfs notes that something is gone: a device without a number.
            kind @ (FileType::Fifo | FileType::Socket | FileType::CharacterDevice) if stat.st_rdev == 0 => {
                mknodat(
                    to,
                    name,
                    kind,
                    Mode::from_raw_mode(stat.st_mode & os::PERMISSIONS),
                    0,
                )?;
            }
            _ => return Err(Errno::OPNOTSUPP),
        }
        utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn file(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        stat: &rustix::fs::Stat,
        to: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = stat.st_mode & os::PERMISSIONS;
        let source = match openat(dir, name, flags, Mode::empty()) {
            // Its owner may not read it, which does not keep its owner from being allowed to.
            Err(Errno::ACCESS) => {
                os::set_mode(dir, name, mode | 0o400)?;
                let opened = openat(dir, name, flags, Mode::empty());
                os::set_mode(dir, name, mode)?;
                opened?
            }
            other => other?,
        };
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let copy = openat(to, name, create, Mode::from_raw_mode(0o600))?;
        match ioctl_ficlone(&copy, &source) {
            Ok(()) => self.done.shared += 1,
            Err(_) => while copy_file_range(&source, None, &copy, None, CHUNK)? > 0 {},
        }
        attributes(source.as_fd(), copy.as_fd())?;
        rustix::fs::fchmod(&copy, Mode::from_raw_mode(mode))
    }
}

fn to_here(to: &Spine) -> Result<OwnedFd, Errno> {
    let here = to.current().ok_or(Errno::BADF)?;
    rustix::io::fcntl_dupfd_cloexec(here, 3)
}

fn times(stat: &rustix::fs::Stat) -> Timestamps {
    let time = |sec: i64, nsec: u64| Timespec {
        tv_sec: sec,
        tv_nsec: i64::try_from(nsec).unwrap_or(0),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Extended attributes of the user's own namespace: overlayfs keeps its notes there.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut list = vec![0u8; XATTR];
    let n = match flistxattr(from, &mut list[..]) {
        Ok(n) => n,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(e) => return Err(e),
    };
    for name in list
        .get(..n)
        .unwrap_or(&[])
        .split(|b| *b == 0)
        .filter(|n| n.starts_with(b"user."))
    {
        let name = OsStr::from_bytes(name);
        let mut value = vec![0u8; XATTR];
        let n = fgetxattr(from, name, &mut value[..])?;
        fsetxattr(to, name, value.get(..n).unwrap_or(&[]), XattrFlags::empty())?;
    }
    Ok(())
}
