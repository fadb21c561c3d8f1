//! The log's directory, held open: files are opened in it by constant names and never through a symbolic link.
use crate::error::LogError;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Name of the file with the frames.
pub const LOG: &str = "log";
/// Name of the file with the hint at the log's end.
pub const HEAD: &str = "head";
/// Name of the file with the secret key.
pub const KEY: &str = "key";
/// Name of the file with the public key.
pub const PUBLIC: &str = "key.pub";
const LOCK: &str = "lock";
const PATIENCE: Duration = Duration::from_secs(10);

/// An evidence directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl Dir {
    /// Keeps a descriptor of its own.
    pub fn new(fd: BorrowedFd<'_>) -> Result<Dir, LogError> {
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|e| LogError::io("keep the directory", e))?;
        Ok(Dir(fd))
    }

    /// Refuses a directory that others own or may write to.
    pub fn check_private(&self) -> Result<(), LogError> {
        let stat = rustix::fs::fstat(&self.0).map_err(|e| LogError::io("look at the directory", e))?;
        private(&stat, 0o022, "the evidence directory")
    }

    /// Opens a file for reading; none if it is missing.
    pub fn read(&self, name: &str) -> io::Result<Option<File>> {
        match self.open(name, OFlags::RDONLY) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Reads at most this many bytes of a small file; none if it is missing.
    pub fn read_small(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.read(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Opens a file for reading and writing, making it with mode 0600 if it is missing.
    pub fn write(&self, name: &str) -> io::Result<File> {
        self.open(name, OFlags::RDWR | OFlags::CREATE)
    }

    fn open(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // Not blocking, so that a FIFO put in a file's place cannot hold us.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
        }
    }

    /// Device and inode of a name; none if it is missing.
    pub fn identity(&self, name: &str) -> io::Result<Option<(u64, u64)>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some((stat.st_dev, stat.st_ino))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Puts a small file in its place, whole or not at all, and makes it durable.
    pub fn replace(&self, name: &str, temporary: &str, bytes: &[u8]) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, temporary, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let file = self.open(temporary, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0)?;
        file.sync_all()?;
        rustix::fs::renameat(&self.0, temporary, &self.0, name)?;
        self.sync()
    }

    /// Makes names durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }

    /// Opens the lock file of a log that is written.
    pub fn lock_file(&self) -> Result<Lock, LogError> {
        self.write(LOCK)
            .map(Lock)
            .map_err(|e| LogError::io("open the lock", e))
    }

    /// Opens the lock file of a log that is only read; none for a copy without one.
    pub fn existing_lock(&self) -> Option<Lock> {
        self.read(LOCK).ok().flatten().map(Lock)
    }
}

/// Refuses what somebody else owns or what others have these permissions on.
pub fn private(stat: &rustix::fs::Stat, others: u32, what: &'static str) -> Result<(), LogError> {
    let me = rustix::process::geteuid().as_raw();
    if stat.st_uid != me || stat.st_mode & others != 0 {
        return Err(LogError::Insecure { what });
    }
    Ok(())
}

/// The lock that every commit takes, across processes.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Runs a function under the lock; gives up after ten seconds.
    ///
    /// The lock is given back by name, not by closing, so that a descriptor inherited by a fork does not keep it.
    pub fn hold<T>(&self, shared: bool, work: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
        let how = if shared {
            FlockOperation::NonBlockingLockShared
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        let begun = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            match rustix::fs::flock(&self.0, how) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR)
                    if begun.elapsed() < PATIENCE =>
                {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_micros(100));
                }
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => return Err(LogError::Busy),
                Err(e) => return Err(LogError::io("take the lock", e)),
            }
        }
        let done = work();
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
        done
    }
}
