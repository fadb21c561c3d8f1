//! Descends into trees of any depth with a bounded number of open descriptors.
use crate::os;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Descriptors held at once.
const HELD: usize = 32;

struct Level {
    name: OsString,
    fd: Option<OwnedFd>,
    id: (u64, u64),
    left: Vec<OsString>,
}

/// The way from a top directory down to the current one. Only the lowest levels are held open; higher ones are opened
/// again through `..`, and must then be the directories they were.
pub(crate) struct Spine {
    levels: Vec<Level>,
}

impl Spine {
    /// Starts at a directory whose entries `left` are still to be looked at.
    pub(crate) fn new(name: &OsStr, fd: OwnedFd, left: Vec<OsString>) -> Result<Spine, Errno> {
        let mut spine = Spine { levels: Vec::new() };
        spine.push(name, fd, left)?;
        Ok(spine)
    }

    /// Goes down into a directory.
    pub(crate) fn push(&mut self, name: &OsStr, fd: OwnedFd, left: Vec<OsString>) -> Result<(), Errno> {
        let stat = rustix::fs::fstat(&fd)?;
        if let Some(far) = self.levels.len().checked_sub(HELD)
            && let Some(level) = self.levels.get_mut(far)
        {
            level.fd = None;
        }
        self.levels.push(Level {
            name: name.to_owned(),
            fd: Some(fd),
            id: (stat.st_dev, stat.st_ino),
            left,
        });
        Ok(())
    }

    /// The next entry of the current directory, with that directory.
    pub(crate) fn next(&mut self) -> Option<(BorrowedFd<'_>, OsString)> {
        let level = self.levels.last_mut()?;
        let name = level.left.pop()?;
        Some((level.fd.as_ref()?.as_fd(), name))
    }

    /// The current directory.
    pub(crate) fn current(&self) -> Option<BorrowedFd<'_>> {
        Some(self.levels.last()?.fd.as_ref()?.as_fd())
    }

    /// Leaves the current directory: its name and the directory it lies in, or nothing at the top.
    pub(crate) fn pop(&mut self) -> Result<Option<(BorrowedFd<'_>, OsString)>, Errno> {
        let (Some(done), Some(above)) = (self.levels.pop(), self.levels.last_mut()) else {
            return Ok(None);
        };
        if above.fd.is_none() {
            let from = done.fd.as_ref().ok_or(Errno::BADF)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(from, "..", flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&fd)?;
            if (stat.st_dev, stat.st_ino) != above.id {
                return Err(Errno::STALE);
            }
            above.fd = Some(fd);
        }
        Ok(above.fd.as_ref().map(|fd| (fd.as_fd(), done.name)))
    }

    /// How many directories lie inside one another here.
    pub(crate) fn depth(&self) -> usize {
        self.levels.len()
    }
}

/// Opens a directory beneath, making it accessible to its owner first if it is not.
pub(crate) fn open_any(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    match os::open_dir(dir, Path::new(name)) {
        Err(Errno::ACCESS) => {
            os::set_mode(dir, name, 0o700)?;
            os::open_dir(dir, Path::new(name))
        }
        other => other,
    }
}
