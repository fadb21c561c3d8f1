//! The intent log of an apply, kept in the run's directory until all is done or undone.
use crate::change::{Time, from_hex, to_hex};
use crate::state::{self, Durable, StateError};
use crate::{LayerState, Node};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

pub(super) const FILE: &str = "apply.journal";

/// A path in hexadecimal: JSON has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Raw(pub(super) PathBuf);

impl From<Raw> for String {
    fn from(raw: Raw) -> String {
        to_hex(raw.0.as_os_str().as_bytes())
    }
}

impl TryFrom<String> for Raw {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Raw, &'static str> {
        from_hex(&text)
            .map(|bytes| Raw(OsString::from_vec(bytes).into()))
            .ok_or("not a path in hexadecimal")
    }
}

/// By what an entry is known again. A rename changes none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    pub(super) ino: u64,
    mtime: Time,
    size: u64,
    pub(super) is_dir: bool,
}

impl Seal {
    pub(super) fn of(node: &Node) -> Seal {
        Seal {
            ino: node.id.ino,
            mtime: node.id.mtime,
            size: node.size,
            is_dir: node.kind == crate::NodeKind::Directory,
        }
    }

    /// Whether it is this entry, unchanged. A directory's time moves with what is put in it: there the inode decides.
    pub(super) fn fits(&self, node: &Node) -> bool {
        let other = Seal::of(node);
        if self.is_dir {
            self.ino == other.ino && other.is_dir
        } else {
            *self == other
        }
    }
}

/// One step on the workspace. Slots are names in the staging directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Op {
    /// Put what lies in the slot at the path; what was there moves to the slot.
    Put {
        path: Raw,
        slot: usize,
        new: Seal,
        old: Option<Seal>,
    },
    /// Move what is at the path, no directory, to the slot.
    Take { path: Raw, slot: usize, old: Seal },
    /// Remove the empty directory.
    Rmdir { path: Raw, mode: u32 },
    /// Set permission bits. No inode is named for a directory that is about to be removed: made again by an undo, it
    /// has another one.
    Mode {
        path: Raw,
        from: u32,
        to: u32,
        ino: Option<u64>,
    },
}

impl Op {
    pub(super) fn path(&self) -> &Path {
        match self {
            Op::Put { path, .. } | Op::Take { path, .. } | Op::Rmdir { path, .. } | Op::Mode { path, .. } => {
                &path.0
            }
        }
    }
}

/// Where what is new waits.
pub(super) fn fresh(slot: usize) -> String {
    format!("new-{slot}")
}

/// Where what was there waits, if it did not change places with what is new.
pub(super) fn former(slot: usize) -> String {
    format!("old-{slot}")
}

/// What an apply is about to do. Without operations, it was still being staged and the workspace is untouched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u32,
    /// [`LayerState::applies`] once this one is done.
    pub(super) number: u64,
    pub(super) staging: String,
    pub(super) ops: Vec<Op>,
}

impl Journal {
    pub(super) fn new(number: u64) -> Result<Journal, Errno> {
        let mut random = [0u8; 8];
        let got = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        if got != random.len() {
            return Err(Errno::IO);
        }
        Ok(Journal {
            version: 1,
            number,
            staging: format!(".qila-apply-{}", to_hex(&random)),
            ops: Vec::new(),
        })
    }

    pub(super) fn write(&self, run: BorrowedFd<'_>) -> Result<(), StateError> {
        state::write(run, FILE, self, Durable::Yes)
    }

    pub(super) fn read(run: BorrowedFd<'_>) -> Result<Option<Journal>, StateError> {
        state::read(run, FILE)
    }

    /// Whether the commit point was passed.
    pub(super) fn is_done(&self, state: &LayerState) -> bool {
        state.applies >= self.number
    }
}

/// Whether an apply was cut off.
pub(crate) fn is_unfinished(run: BorrowedFd<'_>) -> Result<bool, StateError> {
    Ok(Journal::read(run)?.is_some())
}
