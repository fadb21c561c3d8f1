//! The small files that Qila keeps beside a layer, replaced atomically.
use crate::error::Context;
use crate::{At, os};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Longest state file that is read. The journal of [`crate::Limits::entries`] changes fits.
const LONGEST: u64 = 1 << 30;

/// Why a state file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A system call failed.
    #[error("the run's directory is not usable")]
    System(#[from] At),
    /// The file system refused.
    #[error("cannot write `{file}` in the run's directory")]
    Write {
        /// The file.
        file: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It is not what Qila wrote.
    #[error(
        "`{file}` in the run's directory is damaged; look at the layer by hand, or `qila discard` the run"
    )]
    Damaged {
        /// The file.
        file: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// Whether a state file must survive a power cut before the next step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    Yes,
    No,
}

/// Replaces a state file as a whole.
pub(crate) fn write<T: Serialize>(
    run: BorrowedFd<'_>,
    file: &'static str,
    value: &T,
    durable: Durable,
) -> Result<(), StateError> {
    let (target, fresh) = (Path::new(file), PathBuf::from(format!("{file}.new")));
    remove(run, &fresh).at("removing", &fresh)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let fd = os::open(run, &fresh, flags, 0o600).at("creating", &fresh)?;
    let mut out = BufWriter::new(File::from(fd));
    let failed = |source| StateError::Write { file, source };
    serde_json::to_writer(&mut out, value).map_err(|e| failed(e.into()))?;
    out.flush().map_err(failed)?;
    if durable == Durable::Yes {
        out.get_ref().sync_all().map_err(failed)?;
    }
    rustix::fs::renameat(run, &fresh, run, target).at("replacing", target)?;
    if durable == Durable::Yes {
        rustix::fs::fsync(run).at("syncing", Path::new("."))?;
    }
    Ok(())
}

/// Reads a state file, if it is there.
pub(crate) fn read<T: DeserializeOwned>(
    run: BorrowedFd<'_>,
    file: &'static str,
) -> Result<Option<T>, StateError> {
    let fd = match os::open(run, Path::new(file), OFlags::RDONLY, 0) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(At::new("opening", Path::new(file), e).into()),
    };
    let mut text = Vec::new();
    File::from(fd)
        .take(LONGEST)
        .read_to_end(&mut text)
        .map_err(|source| StateError::Write { file, source })?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| StateError::Damaged { file, source })
}

/// Removes a file that may not be there.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &Path) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}

const FILE: &str = "apply.json";

/// How far a layer has been carried over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Nothing was applied.
    #[default]
    Open,
    /// Some paths were applied.
    Partial,
    /// All was applied.
    Applied,
    /// The layer was removed.
    Discarded,
}

/// What has been done with a run's layer, as kept in its directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerState {
    /// How far it has been carried over.
    pub progress: Progress,
    /// Completed applies; also what tells a finished journal from one to be undone.
    pub applies: u64,
    /// SHA-256 of each apply, in hexadecimal.
    pub digests: Vec<String>,
    /// Paths already applied, in hexadecimal, while others are left.
    pub(crate) done: BTreeSet<String>,
}

impl LayerState {
    /// Reads the state; a run whose layer was never touched has the default one.
    pub fn read(run: impl AsFd) -> Result<LayerState, StateError> {
        Ok(read(run.as_fd(), FILE)?.unwrap_or_default())
    }

    pub(crate) fn write(&self, run: BorrowedFd<'_>) -> Result<(), StateError> {
        write(run, FILE, self, Durable::Yes)
    }
}
