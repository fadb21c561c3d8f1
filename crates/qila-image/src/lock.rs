//! Locks of the store: files that the kernel lets go of when their holder ends, however it ends.
use crate::error::ImageError;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// How long is waited for somebody else's work on the same layer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20 * 60);
const PAUSE: Duration = Duration::from_millis(20);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: OwnedFd,
}

/// Which of two ways to hold a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Shared,
    Exclusive,
}

fn open(dir: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::from_raw_mode(0o600))
}

/// Takes a lock, if nobody holds it another way.
pub(crate) fn attempt(file: OwnedFd, how: How) -> Result<Option<Lock>, Errno> {
    let operation = match how {
        How::Shared => FlockOperation::NonBlockingLockShared,
        How::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::io::retry_on_intr(|| flock(&file, operation)) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The lock of whoever is alone with the store, if nobody else is there.
pub(crate) fn try_alone(dir: &OwnedFd) -> Result<Option<Lock>, ImageError> {
    let file = open(dir, "users").and_then(|file| attempt(file, How::Exclusive));
    file.map_err(ImageError::errno("locking the images"))
}

/// Waits for a lock, for so long; `Busy` afterwards, and as soon as `stop` says so.
pub(crate) fn wait(
    dir: &OwnedFd,
    name: &str,
    how: How,
    patience: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<Lock, ImageError> {
    let until = Instant::now() + patience;
    let failed = |e| ImageError::errno(format!("locking {name} of the images"))(e);
    loop {
        let file = open(dir, name).map_err(failed)?;
        if let Some(lock) = attempt(file, how).map_err(failed)? {
            return Ok(lock);
        }
        if stop() {
            return Err(ImageError::Stopped);
        }
        if Instant::now() >= until {
            return Err(ImageError::Busy);
        }
        std::thread::sleep(PAUSE);
    }
}
