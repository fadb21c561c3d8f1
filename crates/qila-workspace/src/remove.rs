//! Removes a tree that an agent made: any depth, any modes, no link followed, no mount entered.
use crate::error::Context;
use crate::spine::{Spine, open_any};
use crate::{At, os};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Entries of one directory; more than a file system of any size holds in practice.
const ENTRIES: usize = 50_000_000;
/// Times a directory that is not empty although all in it was removed is looked at again.
const AGAIN: u32 = 3;

/// Why something remains.
#[derive(Debug, thiserror::Error)]
#[error(
    "{left} entries could not be removed, the first: remove it by hand (an immutable file: `chattr -i`; a mount: `umount`)"
)]
pub struct RemoveError {
    /// How many entries remain for a reason of their own.
    pub left: u64,
    /// The first of them.
    #[source]
    pub first: At,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Files, links and special files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
}

struct Sweep {
    removed: Removed,
    left: u64,
    first: Option<At>,
}

/// Removes the entry `name` of `dir` and all beneath it. An entry that is not there is no error.
///
/// Directories that the owner may not enter are opened up first. What cannot be removed is left, the rest is removed.
pub fn remove_tree(dir: impl AsFd, name: &OsStr) -> Result<Removed, RemoveError> {
    let mut sweep = Sweep {
        removed: Removed::default(),
        left: 0,
        first: None,
    };
    if let Err(e) = sweep.tree(dir.as_fd(), name) {
        sweep.note(e);
    }
    match sweep.first {
        None => Ok(sweep.removed),
        Some(first) => Err(RemoveError {
            left: sweep.left,
            first,
        }),
    }
}

impl Sweep {
    fn note(&mut self, at: At) {
        self.left += 1;
        self.first.get_or_insert(at);
    }

    fn tree(&mut self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), At> {
        let path = Path::new(name);
        if !self.plain(dir, name).at("removing", path)? {
            return Ok(());
        }
        let fd = open_any(dir, name).at("opening", path)?;
        let left = listing(fd.as_fd()).at("reading", path)?;
        let mut spine = Spine::new(name, fd, left).at("reading", path)?;
        while spine.depth() > 0 {
            while let Some((here, name)) = spine.next() {
                match self
                    .plain(here, &name)
                    .and_then(|is_dir| is_dir.then(|| enter(here, &name)).transpose())
                {
                    Ok(None) => {}
                    Ok(Some((fd, left))) => spine.push(&name, fd, left).at("entering", Path::new(&name))?,
                    Err(e) => self.note(At::new("removing", Path::new(&name), e)),
                }
            }
            match spine.pop().at("leaving", path)? {
                Some((above, name)) => self.directory(above, &name),
                None => self.directory(dir, name),
            }
        }
        Ok(())
    }

    /// Removes what is no directory; true if it is one.
    fn plain(&mut self, dir: BorrowedFd<'_>, name: &OsStr) -> Result<bool, Errno> {
        let Some(stat) = os::stat_if_there(dir, name)? else {
            return Ok(false);
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(true);
        }
        rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
        self.removed.files += 1;
        Ok(false)
    }

    fn directory(&mut self, dir: BorrowedFd<'_>, name: &OsStr) {
        let before = self.left;
        for _ in 0..AGAIN {
            match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
                Ok(()) => {
                    self.removed.directories += 1;
                    return;
                }
                Err(Errno::NOENT) => return,
                // What remains in it has been noted already.
                Err(Errno::NOTEMPTY | Errno::EXIST) if before > 0 => return,
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(e) => return self.note(At::new("removing", Path::new(name), e)),
            }
        }
        self.note(At::new("removing", Path::new(name), Errno::NOTEMPTY));
    }
}

fn enter(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(rustix::fd::OwnedFd, Vec<OsString>), Errno> {
    let fd = open_any(dir, name)?;
    let left = listing(fd.as_fd())?;
    Ok((fd, left))
}

/// The names in a directory, which its owner may then also remove.
fn listing(fd: BorrowedFd<'_>) -> Result<Vec<OsString>, Errno> {
    if rustix::fs::fstat(fd)?.st_mode & 0o700 != 0o700 {
        rustix::fs::fchmod(fd, Mode::RWXU)?;
    }
    os::names(fd, ENTRIES)
}
