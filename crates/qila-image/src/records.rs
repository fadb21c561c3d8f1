//! What the store knows: small files, replaced whole.
use crate::config::ImageConfig;
use crate::error::ImageError;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, fsync, openat, renameat};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Largest record in bytes.
const MAX: u64 = 8 << 20;
static TURN: AtomicU64 = AtomicU64::new(0);

/// An image whose layers are in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Digest of its manifest.
    pub digest: String,
    /// Every layer that it needs, by what it decompresses to, in hexadecimal.
    pub layers: Vec<String>,
    /// What is shown of it, the uppermost first, as paths within the store.
    pub lower: Vec<String>,
    pub config: ImageConfig,
}

/// What a name meant when it was last asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub reference: String,
    /// What the registry called it: a manifest or a list of them.
    pub digest: String,
    /// The manifest for this machine.
    pub manifest: String,
}

/// Opens a record, which must be a regular file.
pub(crate) fn open(dir: &OwnedFd, path: &str) -> Result<Option<OwnedFd>, ImageError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat(dir, path, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(ImageError::errno(format!("opening {path}"))(e)),
    }
}

/// Reads a record; none if there is none.
pub(crate) fn read<T: DeserializeOwned>(dir: &OwnedFd, path: &str) -> Result<Option<T>, ImageError> {
    let Some(file) = open(dir, path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = File::from(file).take(MAX).read_to_end(&mut bytes);
    read.map_err(ImageError::io(path))?;
    let record = serde_json::from_slice(&bytes);
    record.map(Some).map_err(|e| ImageError::Store {
        what: path.to_owned(),
        why: e.to_string(),
    })
}

/// Writes a record so that it is there whole, or as it was before.
pub(crate) fn write<T: Serialize>(
    dir: &OwnedFd,
    folder: &str,
    name: &str,
    record: &T,
) -> Result<(), ImageError> {
    let path = format!("{folder}/{name}");
    let bytes = serde_json::to_vec(record).map_err(|e| ImageError::Store {
        what: path.clone(),
        why: e.to_string(),
    })?;
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let unfinished = format!("tmp/record-{}-{turn}", std::process::id());
    let written = || -> Result<(), std::io::Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(
            dir,
            unfinished.as_str(),
            flags,
            Mode::from_raw_mode(0o600),
        )?);
        file.write_all(&bytes)?;
        file.sync_all()?;
        renameat(dir, unfinished.as_str(), dir, path.as_str())?;
        let folder = openat(
            dir,
            folder,
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(fsync(folder)?)
    };
    written().map_err(ImageError::io(path.clone()))
}
