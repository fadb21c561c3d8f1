//! Which entries are of the present layer: its whiteouts are for the layers beneath, whatever the order of its entries.
//!
//! Directories are known by their inode, so that a path through a link of the image is the same directory as one around it.
use crate::layer::Marks;
use crate::place::{clear, kind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Dir, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// Deepest directory that whiteouts look into.
const MAX_DEPTH: usize = 2048;
const LISTED: OFlags = OFlags::DIRECTORY
    .union(OFlags::RDONLY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What the present layer made.
pub(crate) struct Own {
    root: u64,
    /// Names, hashed with a key that no image knows, each with its directory.
    names: HashSet<(u64, u64)>,
    key: RandomState,
    /// Directories in which, at any depth, something of this layer is.
    above: HashSet<u64>,
    /// Directories in which nothing of a lower layer is left.
    clean: HashSet<u64>,
}

pub(crate) fn inode(dir: impl AsFd) -> Result<u64, Errno> {
    fstat(dir).map(|s| s.st_ino)
}

impl Own {
    pub(crate) fn new(root: BorrowedFd<'_>) -> Result<Own, Errno> {
        Ok(Own {
            root: inode(root)?,
            names: HashSet::new(),
            key: RandomState::new(),
            above: HashSet::new(),
            clean: HashSet::new(),
        })
    }

    fn name(&self, dir: u64, name: &[u8]) -> (u64, u64) {
        (dir, self.key.hash_one(name))
    }
}

impl Marks for Own {
    const ALONE: bool = false;

    /// Its inode may have been another's before.
    fn implied(&mut self, dir: &OwnedFd) -> Result<(), Errno> {
        let dir = inode(dir)?;
        self.above.remove(&dir);
        self.clean.insert(dir);
        Ok(())
    }

    fn fresh(&mut self, dir: &OwnedFd, kept: bool) -> Result<(), Errno> {
        if kept { Ok(()) } else { self.implied(dir) }
    }

    fn made(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let here = inode(dir)?;
        self.names.insert(self.name(here, name));
        let (mut here, mut held) = (here, None::<OwnedFd>);
        while self.above.insert(here) && here != self.root {
            let at = held.as_ref().unwrap_or(dir);
            let up = openat(
                at,
                "..",
                OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            here = inode(&up)?;
            held = Some(up);
        }
        Ok(())
    }

    fn hide(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let here = inode(dir)?;
        if !self.clean.contains(&here) {
            self.lower(dir, here, name, 0)?;
        }
        Ok(())
    }

    fn opaque(&mut self, dir: &OwnedFd) -> Result<(), Errno> {
        self.prune(&openat(dir, ".", LISTED, Mode::empty())?, 0)
    }
}

impl Own {
    fn prune(&mut self, dir: &OwnedFd, depth: usize) -> Result<(), Errno> {
        let here = inode(dir)?;
        // Once is enough: what comes to be there afterwards is of this layer.
        if !self.clean.insert(here) {
            return Ok(());
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            names.push(entry?.file_name().to_bytes().to_vec());
        }
        for name in names.iter().filter(|n| !matches!(n.as_slice(), b"." | b"..")) {
            self.lower(dir, here, name, depth)?;
        }
        Ok(())
    }

    /// Removes a name but for what this layer has at it and beneath.
    fn lower(&mut self, dir: &OwnedFd, here: u64, name: &[u8], depth: usize) -> Result<(), Errno> {
        let ours = self.names.contains(&self.name(here, name));
        if !kind(dir, name)?.is_some_and(|k| k.is_dir()) {
            return if ours { Ok(()) } else { clear(dir, name) };
        }
        let below = openat(dir, name, LISTED, Mode::empty())?;
        if !ours && !self.above.contains(&inode(&below)?) {
            drop(below);
            return clear(dir, name);
        }
        if depth >= MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        self.prune(&below, depth + 1)
    }
}
