//! Walks the upper directory beside the workspace and says what differs.
//!
//! What counts is the merged view the agent had: whiteouts (character device 0:0, or an empty file with
//! `user.overlay.whiteout`) remove, an opaque directory hides all that lies below it, everything else replaces.
use crate::error::Context;
use crate::{
    Change, ChangeKind, Changes, Limits, Node, NodeKind, SkipReason, Skipped, WalkError, content, os, risk_of,
};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const OPAQUE: &str = "user.overlay.opaque";
const WHITEOUT: &str = "user.overlay.whiteout";
const ORIGIN: &str = "user.overlay.origin";
const FOREIGN: [&str; 2] = ["user.overlay.redirect", "user.overlay.metacopy"];

pub(crate) struct Walker<'a> {
    limits: &'a Limits,
    out: Changes,
    seen: usize,
}

/// A directory of the layer with the one below it, where there is one.
struct Pair<'a> {
    upper: BorrowedFd<'a>,
    lower: Option<BorrowedFd<'a>>,
    path: &'a Path,
    depth: usize,
    /// This directory or one above it hides what lies below.
    opaque: bool,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Walker<'a> {
        Walker {
            limits,
            out: Changes::default(),
            seen: 0,
        }
    }

    pub(crate) fn run(mut self, upper: BorrowedFd<'_>, lower: BorrowedFd<'_>) -> Result<Changes, WalkError> {
        self.directory(&Pair {
            upper,
            lower: Some(lower),
            path: Path::new(""),
            depth: 0,
            opaque: false,
        })?;
        self.out.entries.sort_by(|a, b| a.path.cmp(&b.path));
        self.out.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(self.out)
    }

    fn directory(&mut self, pair: &Pair<'_>) -> Result<(), WalkError> {
        self.refuse_foreign(pair.upper, pair.path)?;
        let mark = os::attribute(pair.upper, OPAQUE).at("reading the attributes of", pair.path)?;
        let opaque = pair.opaque || mark.as_deref() == Some(b"y");
        let mine = self.names(pair.upper, pair.path)?;
        for name in &mine {
            self.entry(&Pair { opaque, ..*pair }, name)?;
        }
        let (true, Some(lower)) = (opaque, pair.lower) else {
            return Ok(());
        };
        for name in self.names(lower, pair.path)? {
            if mine.binary_search(&name).is_err() {
                self.gone(lower, &name, &pair.path.join(&name), pair.depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, pair: &Pair<'_>, name: &OsStr) -> Result<(), WalkError> {
        let path = pair.path.join(name);
        if path.as_os_str().len() > self.limits.path {
            self.skip(path, SkipReason::PathTooLong);
            return Ok(());
        }
        let stat = os::stat(pair.upper, name).at("reading", &path)?;
        let below = match pair.lower {
            Some(dir) => os::node_if_there(dir, name).at("reading", &path)?,
            None => None,
        };
        if is_device_whiteout(&stat) {
            return self.whiteout(pair, name, &path, below.is_some());
        }
        let node = Node::of(&stat);
        match node.kind {
            NodeKind::Special => self.skip(path, SkipReason::Special),
            NodeKind::File => return self.file(pair, name, path, node, below),
            NodeKind::Directory => return self.subdirectory(pair, name, path, node, below),
            NodeKind::Symlink => {
                let target = Some(os::read_link(pair.upper, name).at("reading", &path)?);
                let node = Node { target, ..node };
                match below {
                    Some(old) if old.kind == NodeKind::Symlink && old.target == node.target => {}
                    below => self.replaced(pair, name, path, below, node, false)?,
                }
            }
        }
        Ok(())
    }

    fn file(
        &mut self,
        pair: &Pair<'_>,
        name: &OsStr,
        path: PathBuf,
        node: Node,
        below: Option<Node>,
    ) -> Result<(), WalkError> {
        let fd = match os::open_file(pair.upper, name) {
            Ok(fd) => fd,
            Err(Errno::ACCESS | Errno::PERM) => {
                self.skip(path, SkipReason::Unreadable);
                return Ok(());
            }
            Err(e) => return Err(Errno::into_walk(e, &path)),
        };
        self.refuse_foreign(fd.as_fd(), &path)?;
        let has = |name| {
            os::attribute(fd.as_fd(), name)
                .at("reading the attributes of", &path)
                .map(|v| v.is_some())
        };
        if node.size == 0 && has(WHITEOUT)? {
            return self.whiteout(pair, name, &path, below.is_some());
        }
        if node.size > self.limits.file {
            self.skip(path, SkipReason::TooLarge);
            return Ok(());
        }
        let copied_up = has(ORIGIN)?;
        if let (Some(old), Some(dir)) = (&below, pair.lower)
            && old.kind == NodeKind::File
            && same_content(&fd, dir, name, &node, old).at("comparing", &path)?
        {
            if old.mode != node.mode {
                self.push(path, ChangeKind::ModeChanged, below, Some(node), copied_up);
            }
            return Ok(());
        }
        self.replaced(pair, name, path, below, node, copied_up)
    }

    fn subdirectory(
        &mut self,
        pair: &Pair<'_>,
        name: &OsStr,
        path: PathBuf,
        node: Node,
        below: Option<Node>,
    ) -> Result<(), WalkError> {
        if pair.depth >= self.limits.depth {
            self.skip(path, SkipReason::TooDeep);
            return Ok(());
        }
        let upper = match os::open_dir(pair.upper, Path::new(name)) {
            Ok(fd) => fd,
            Err(Errno::ACCESS | Errno::PERM) => {
                self.skip(path, SkipReason::Unreadable);
                return Ok(());
            }
            Err(e) => return Err(Errno::into_walk(e, &path)),
        };
        let lower = match (&below, pair.lower) {
            (Some(old), Some(dir)) if old.kind == NodeKind::Directory => {
                Some(os::open_dir(dir, Path::new(name)).at("opening", &path)?)
            }
            _ => None,
        };
        match &lower {
            None => {
                let copied_up = os::attribute(upper.as_fd(), ORIGIN)
                    .at("reading the attributes of", &path)?
                    .is_some();
                self.replaced(pair, name, path.clone(), below, node, copied_up)?;
            }
            Some(_) if below.as_ref().is_some_and(|old| old.mode != node.mode) => {
                self.push(path.clone(), ChangeKind::ModeChanged, below, Some(node), true);
            }
            Some(_) => {}
        }
        self.directory(&Pair {
            upper: upper.as_fd(),
            lower: lower.as_ref().map(AsFd::as_fd),
            path: &path,
            depth: pair.depth + 1,
            opaque: pair.opaque,
        })
    }

    fn whiteout(&mut self, pair: &Pair<'_>, name: &OsStr, path: &Path, there: bool) -> Result<(), WalkError> {
        match pair.lower {
            Some(lower) if there => self.gone(lower, name, path, pair.depth),
            _ => Ok(()),
        }
    }

    /// Something new, or something of another kind or content in the place of what was there.
    fn replaced(
        &mut self,
        pair: &Pair<'_>,
        name: &OsStr,
        path: PathBuf,
        below: Option<Node>,
        node: Node,
        copied_up: bool,
    ) -> Result<(), WalkError> {
        let kind = match &below {
            None => ChangeKind::Added,
            Some(old) if old.kind == node.kind => ChangeKind::Modified,
            Some(_) => ChangeKind::TypeChanged,
        };
        if let (Some(old), Some(dir)) = (&below, pair.lower)
            && old.kind == NodeKind::Directory
        {
            self.content_gone(dir, name, &path, pair.depth)?;
        }
        self.push(path, kind, below, Some(node), copied_up);
        Ok(())
    }

    /// Records that an entry of the workspace, and all beneath it, was removed.
    fn gone(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), WalkError> {
        let Some(node) = os::node_if_there(dir, name).at("reading", path)? else {
            return Ok(());
        };
        if node.kind == NodeKind::Directory {
            self.content_gone(dir, name, path, depth)?;
        }
        self.push(path.to_owned(), ChangeKind::Deleted, Some(node), None, false);
        Ok(())
    }

    fn content_gone(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), WalkError> {
        if depth >= self.limits.depth {
            return Err(WalkError::TooDeep {
                path: path.to_owned(),
                limit: self.limits.depth,
            });
        }
        let inner = os::open_dir(dir, Path::new(name)).at("opening", path)?;
        for name in self.names(inner.as_fd(), path)? {
            self.gone(inner.as_fd(), &name, &path.join(&name), depth + 1)?;
        }
        Ok(())
    }

    fn names(&mut self, dir: BorrowedFd<'_>, path: &Path) -> Result<Vec<std::ffi::OsString>, WalkError> {
        match os::names(dir, self.limits.entries - self.seen) {
            Ok(names) => {
                self.seen += names.len();
                Ok(names)
            }
            Err(Errno::TOOBIG) => Err(WalkError::TooMany(self.limits.entries)),
            Err(e) => Err(Errno::into_walk(e, path)),
        }
    }

    /// The kernel hides such attributes from the agent and Qila's mounts never write them: meeting one means that
    /// this directory is not what it claims to be.
    fn refuse_foreign(&self, fd: BorrowedFd<'_>, path: &Path) -> Result<(), WalkError> {
        for attribute in FOREIGN {
            if os::attribute(fd, attribute)
                .at("reading the attributes of", path)?
                .is_some()
            {
                return Err(WalkError::Forged {
                    path: path.to_owned(),
                    attribute,
                });
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        path: PathBuf,
        kind: ChangeKind,
        before: Option<Node>,
        after: Option<Node>,
        copied_up: bool,
    ) {
        let risk = risk_of(&path, before.as_ref(), after.as_ref());
        self.out.entries.push(Change {
            path,
            kind,
            before,
            after,
            risk,
            copied_up,
        });
    }

    fn skip(&mut self, path: PathBuf, reason: SkipReason) {
        self.out.skipped.push(Skipped { path, reason });
    }
}

/// Turns an error number into the walk's error.
trait IntoWalk {
    fn into_walk(self, path: &Path) -> WalkError;
}

impl IntoWalk for Errno {
    fn into_walk(self, path: &Path) -> WalkError {
        WalkError::Read(crate::At::new("opening", path, self))
    }
}

fn is_device_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn same_content(
    new: &OwnedFd,
    dir: BorrowedFd<'_>,
    name: &OsStr,
    node: &Node,
    old: &Node,
) -> Result<bool, Errno> {
    if node.size != old.size {
        return Ok(false);
    }
    match os::open_file(dir, name) {
        Ok(fd) => content::same(new.as_fd(), fd.as_fd()),
        // Not readable for the caller: then it was not for the agent either, and cannot be shown to be the same.
        Err(Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether a symbolic link at `path` leads out of the workspace.
pub(crate) fn leads_out(path: &Path, target: &OsStr) -> bool {
    if target.as_bytes().starts_with(b"/") {
        return true;
    }
    let mut depth = path.components().count().saturating_sub(1);
    for part in target.as_bytes().split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}
