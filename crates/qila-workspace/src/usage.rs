//! What a layer takes on disk, for the sampler of the disk limit.
use crate::os;
use crate::room::INODE;
use crate::spine::Spine;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, Dir, FileType, StatxFlags, statx};
use rustix::io::Errno;
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Hard links remembered; beyond that, further links count once each, which errs towards the limit.
const LINKS: usize = 1 << 20;

/// What a directory tree takes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes allocated, not apparent size: holes count nothing, hard links once.
    pub bytes: u64,
    /// Files, directories and links.
    pub inodes: u64,
    /// Directories that could not be looked into, because the agent took the owner's rights away. What they hold is
    /// not counted, so a caller that enforces a limit treats a number other than zero as a breach.
    pub unreadable: u64,
    /// The walk stopped early: more than the limit is charged.
    pub exceeded: bool,
}

impl Usage {
    /// Bytes that are held against a limit: what is allocated, and 1 KiB for each file, directory and link.
    #[must_use]
    pub fn charged(&self) -> u64 {
        self.bytes.saturating_add(self.inodes.saturating_mul(INODE))
    }
}

/// Adds up what lies beneath a directory, stopping as soon as more than `limit` bytes are charged.
///
/// The tree may change while being walked: what vanishes is not counted.
pub fn usage(dir: impl AsFd, limit: Option<u64>) -> Result<Usage, Errno> {
    let top = os::open_dir(dir.as_fd(), Path::new("."))?;
    let mut counter = Counter {
        usage: Usage::default(),
        links: HashSet::new(),
        limit: limit.unwrap_or(u64::MAX),
    };
    let left = counter.list(&top)?;
    let mut spine = Spine::new(OsStr::new("."), top, left)?;
    while spine.depth() > 0 && !counter.usage.exceeded {
        while let Some((here, name)) = spine.next() {
            let opened = os::open_dir(here, Path::new(&name)).and_then(|fd| Ok((counter.list(&fd)?, fd)));
            match opened {
                Ok((left, fd)) => spine.push(&name, fd, left)?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(_) => counter.usage.unreadable += 1,
            }
            if counter.usage.exceeded {
                return Ok(counter.usage);
            }
        }
        // A directory that was moved meanwhile: what is above it cannot be finished in this walk.
        if spine.pop().is_err() {
            counter.usage.unreadable += 1;
            break;
        }
    }
    Ok(counter.usage)
}

struct Counter {
    usage: Usage,
    links: HashSet<u64>,
    limit: u64,
}

impl Counter {
    /// Counts the entries of a directory and returns the directories among them.
    fn list(&mut self, dir: impl AsFd) -> Result<Vec<OsString>, Errno> {
        let mut inner = Vec::new();
        let wanted = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::BLOCKS | StatxFlags::INO;
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
            let stat = match statx(dir.as_fd(), name, flags, wanted) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(e),
            };
            let is_dir = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory;
            let again =
                !is_dir && stat.stx_nlink > 1 && self.links.len() < LINKS && !self.links.insert(stat.stx_ino);
            if again {
                continue;
            }
            self.usage.inodes += 1;
            self.usage.bytes = self
                .usage
                .bytes
                .saturating_add(stat.stx_blocks.saturating_mul(512));
            if self.usage.charged() > self.limit {
                self.usage.exceeded = true;
                return Ok(Vec::new());
            }
            if is_dir {
                inner.push(OsStr::from_bytes(name.to_bytes()).to_owned());
            }
        }
        Ok(inner)
    }
}
