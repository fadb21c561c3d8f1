//! A layer by itself, in a form that overlayfs lays over others: a whiteout is a character device 0:0, which any user may make
//! since Linux 5.8, and a directory that hides those beneath it says so in `user.overlay.opaque` (mount option `userxattr`).
//!
//! Both are written at the end, so that they never cover what the layer itself has, whatever the order of its entries.
use crate::layer::Marks;
use crate::own::inode;
use crate::place::kind;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags, XattrFlags, fsetxattr, fstat, mknodat, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

const LISTED: OFlags = OFlags::DIRECTORY
    .union(OFlags::RDONLY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Deepest directory.
const MAX_DEPTH: usize = 2048;
/// Most directories without an entry of their own that are remembered, and bytes of their paths; beyond, the layer is no layer.
const MAX_IMPLIED: usize = 4096;
const MAX_IMPLIED_BYTES: usize = 256 * 1024;
/// Longest name that a file system holds, and bytes of all hidden names that are remembered; beyond, the layer is no layer.
const MAX_NAME: usize = 255;
const MAX_HIDDEN_BYTES: usize = 16 << 20;

/// What has to be known of a layer to lay it over others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Directories that no entry names; their mode is not the layer's to say, nor that they are directories.
    pub implied: Vec<String>,
    /// Those of them whose mode an entry does say.
    pub named: Vec<String>,
    /// Whether nothing beneath it is seen.
    pub bottom: bool,
    /// Whether whiteouts are in it, which only overlayfs hides.
    pub whiteouts: bool,
}

/// What is remembered while a layer is unpacked by itself. Directories are known by their inode.
#[derive(Default)]
pub(crate) struct Alone {
    /// True: an entry named it afterwards.
    implied: HashMap<u64, bool>,
    hidden: HashMap<u64, HashSet<Vec<u8>>>,
    opaque: HashSet<u64>,
    /// Bytes of the names in `hidden`, those too that are there no more.
    names: usize,
}

impl Alone {
    fn forget(&mut self, dir: u64) {
        self.implied.remove(&dir);
        self.hidden.remove(&dir);
        self.opaque.remove(&dir);
    }

    /// Writes whiteouts. None: the file system cannot hold them, or the layer is not one that can be laid over others.
    pub(crate) fn finish(&self, root: BorrowedFd<'_>) -> Result<Option<Shape>, Errno> {
        if self.names > MAX_HIDDEN_BYTES {
            return Ok(None);
        }
        let mut shape = Shape {
            bottom: self.opaque.contains(&inode(root)?),
            ..Shape::default()
        };
        if self.implied.is_empty() && self.hidden.is_empty() && self.opaque.is_empty() {
            return Ok(Some(shape));
        }
        let root = openat(root, ".", LISTED, Mode::empty())?;
        let mut path = Vec::new();
        Ok(self
            .walk(&root, &mut path, (0, false), &mut shape)?
            .then_some(shape))
    }

    /// `covered`: a whiteout of this layer is for this directory or one above it.
    fn walk(
        &self,
        dir: &OwnedFd,
        path: &mut Vec<u8>,
        (depth, covered): (usize, bool),
        shape: &mut Shape,
    ) -> Result<bool, Errno> {
        let here = inode(dir)?;
        // Whether the whiteout takes it away too depends on what was in it at that moment.
        if covered && self.implied.contains_key(&here) {
            return Ok(false);
        }
        let covered = covered || self.opaque.contains(&here);
        if let Some(named) = self.implied.get(&here) {
            let bytes: usize = shape.implied.iter().map(String::len).sum();
            let Ok(text) = String::from_utf8(path.clone()) else {
                return Ok(false);
            };
            if depth >= MAX_DEPTH
                || shape.implied.len() >= MAX_IMPLIED
                || bytes + text.len() > MAX_IMPLIED_BYTES
            {
                return Ok(false);
            }
            if *named {
                shape.named.push(text.clone());
            }
            shape.implied.push(text);
        }
        if self.opaque.contains(&here) && depth > 0 && !mark(dir)? {
            return Ok(false);
        }
        let hidden = self.hidden.get(&here);
        for name in hidden.into_iter().flatten() {
            match kind(dir, name)? {
                None if !whiteout(dir, name)? => return Ok(false),
                None => shape.whiteouts = true,
                Some(kind)
                    if kind.is_dir()
                        && !mark(&openat(dir, OsStr::from_bytes(name), LISTED, Mode::empty())?)? =>
                {
                    return Ok(false);
                }
                _ => {}
            }
        }
        if depth >= MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        // No descriptor but one for each level is open.
        let mut below = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"."
                && name != b".."
                && entry.file_type() != FileType::RegularFile
                && kind(dir, name)?.is_some_and(|k| k.is_dir())
            {
                below.push(name.to_vec());
            }
        }
        for name in below {
            let length = path.len();
            path.push(b'/');
            path.extend(&name);
            let next = openat(dir, OsStr::from_bytes(&name), LISTED, Mode::empty())?;
            let covered = covered || hidden.is_some_and(|h| h.contains(&name));
            if !self.walk(&next, path, (depth + 1, covered), shape)? {
                return Ok(false);
            }
            path.truncate(length);
        }
        Ok(true)
    }
}

/// Whether it could be made: not upon an overlayfs, nor where a filter of system calls forbids it.
fn whiteout(dir: &OwnedFd, name: &[u8]) -> Result<bool, Errno> {
    let mode = Mode::from_raw_mode(0o600);
    match mknodat(
        dir,
        OsStr::from_bytes(name),
        FileType::CharacterDevice,
        mode,
        rustix::fs::makedev(0, 0),
    ) {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether the file system could keep it.
fn mark(dir: &OwnedFd) -> Result<bool, Errno> {
    match fsetxattr(dir, "user.overlay.opaque", b"y", XattrFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(false),
        Err(e) => Err(e),
    }
}

impl Marks for Alone {
    const ALONE: bool = true;

    fn implied(&mut self, dir: &OwnedFd) -> Result<(), Errno> {
        let dir = inode(dir)?;
        self.forget(dir); // its inode may have been another's before
        self.implied.insert(dir, false);
        Ok(())
    }

    fn fresh(&mut self, dir: &OwnedFd, kept: bool) -> Result<(), Errno> {
        let dir = inode(dir)?;
        if kept {
            self.implied.entry(dir).and_modify(|named| *named = true);
        } else {
            self.forget(dir);
        }
        Ok(())
    }

    fn made(&mut self, _: &OwnedFd, _: &[u8]) -> Result<(), Errno> {
        Ok(())
    }

    fn hide(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        // No entry has such a name, so there is nothing to hide.
        if name.starts_with(b".wh.") || name.len() > MAX_NAME {
            return Ok(());
        }
        self.names = self.names.saturating_add(name.len());
        if self.names <= MAX_HIDDEN_BYTES {
            self.hidden.entry(inode(dir)?).or_default().insert(name.to_vec());
        }
        Ok(())
    }

    fn opaque(&mut self, dir: &OwnedFd) -> Result<(), Errno> {
        self.opaque.insert(inode(dir)?);
        Ok(())
    }
}

/// Whether what is open is a whiteout.
pub(crate) fn is_whiteout(at: impl AsFd) -> Result<bool, Errno> {
    let stat = fstat(at)?;
    Ok(FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == rustix::fs::makedev(0, 0))
}
