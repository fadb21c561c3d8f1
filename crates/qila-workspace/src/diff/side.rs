//! One side of a comparison.
use crate::error::Context;
use crate::{At, Limits, Node, NodeKind, content, os};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes at the start of a file in which a zero byte marks it as no text, as in Git.
const SNIFF: usize = 8000;

/// What is there to compare.
pub(super) enum Side {
    Absent,
    Text(Vec<u8>),
    Binary,
    Large,
    Unreadable,
}

impl Side {
    pub(super) fn load(
        root: BorrowedFd<'_>,
        path: &Path,
        node: Option<&Node>,
        limits: &Limits,
    ) -> Result<Side, At> {
        let Some(node) = node else {
            return Ok(Side::Absent);
        };
        match node.kind {
            NodeKind::Symlink => Ok(Side::Text(
                node.target
                    .as_ref()
                    .map(|t| t.as_bytes().to_vec())
                    .unwrap_or_default(),
            )),
            NodeKind::File if node.size > limits.diff_file => Ok(Side::Large),
            NodeKind::File => Side::file(root, path, limits),
            NodeKind::Directory | NodeKind::Special => Ok(Side::Binary),
        }
    }

    fn file(root: BorrowedFd<'_>, path: &Path, limits: &Limits) -> Result<Side, At> {
        let (dir, name) = os::open_parent(root, path).at("opening", path)?;
        let fd = match os::open_file(dir.as_fd(), name) {
            Ok(fd) => fd,
            Err(Errno::ACCESS | Errno::PERM) => return Ok(Side::Unreadable),
            Err(e) => return Err(At::new("opening", path, e)),
        };
        Ok(
            match content::read_small(fd.as_fd(), limits.diff_file).at("reading", path)? {
                None => Side::Large,
                Some(bytes) if bytes.iter().take(SNIFF).any(|b| *b == 0) => Side::Binary,
                Some(bytes) => Side::Text(bytes),
            },
        )
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Side::Absent)
    }

    /// The lines to compare; nothing where the whole is all that can be compared.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Side::Absent => Some(b""),
            Side::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Size and nature, for a file that is not shown line by line.
    pub(super) fn describe(&self, node: Option<&Node>) -> String {
        let size = node.map_or(0, |n| n.size);
        match self {
            Side::Absent => "0 bytes".into(),
            Side::Large => format!("{size} bytes, too large to show"),
            Side::Unreadable => format!("{size} bytes, not readable"),
            Side::Text(_) | Side::Binary => format!("{size} bytes"),
        }
    }
}
