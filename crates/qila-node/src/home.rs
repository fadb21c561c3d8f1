//! Where a node keeps its sandboxes: directories under `$QILA_HOME/serve`, locked for as long as a node looks after them.
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat, openat};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

const FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
/// Sandboxes, by id.
pub(crate) const SANDBOXES: &str = "s";
/// Layers that several sandboxes and snapshots lie on.
pub(crate) const LAYERS: &str = "layers";
/// An empty directory, which a home without files lies on.
pub(crate) const EMPTY: &str = "empty";

/// Why the node's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another node has it.
    #[error("another `qila serve` uses {0}")]
    Busy(PathBuf),
    /// It cannot be made, opened or written.
    #[error("the directory {path}: {errno}")]
    System {
        /// Which.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
}

/// The node's directory, open and locked.
#[derive(Debug)]
pub(crate) struct Home {
    pub path: PathBuf,
    dir: OwnedFd,
    pub sandboxes: OwnedFd,
    pub layers: OwnedFd,
}

fn subdir(at: impl AsFd, name: &str, mode: u32) -> Result<OwnedFd, Errno> {
    match mkdirat(&at, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    openat(at, name, FLAGS, Mode::empty())
}

impl Home {
    /// Opens it, making it the first time.
    pub(crate) fn open(path: &Path) -> Result<Home, HomeError> {
        let fail = |errno| HomeError::System {
            path: path.to_owned(),
            errno,
        };
        if let Err(e) = std::fs::create_dir_all(path) {
            return Err(fail(Errno::from_io_error(&e).unwrap_or(Errno::IO)));
        }
        let dir = openat(rustix::fs::CWD, path, FLAGS, Mode::empty()).map_err(fail)?;
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::AGAIN) => return Err(HomeError::Busy(path.to_owned())),
            Err(e) => return Err(fail(e)),
        }
        rustix::fs::fchmod(&dir, Mode::RWXU).map_err(fail)?;
        let sandboxes = subdir(&dir, SANDBOXES, 0o700).map_err(fail)?;
        let layers = subdir(&dir, LAYERS, 0o700).map_err(fail)?;
        let empty = subdir(&dir, EMPTY, 0o755).map_err(fail)?;
        // Whatever mask the process has.
        rustix::fs::fchmod(&empty, Mode::from_raw_mode(0o755)).map_err(fail)?;
        Ok(Home {
            path: path.to_owned(),
            dir,
            sandboxes,
            layers,
        })
    }

    /// Lets another node have it.
    pub(crate) fn release(&self) {
        // Closing it does the same.
        let _ = flock(&self.dir, FlockOperation::Unlock);
    }

    /// Directory of a sandbox, as a path.
    pub(crate) fn sandbox(&self, id: &str) -> PathBuf {
        self.path.join(SANDBOXES).join(id)
    }

    /// Directory of a layer, as a path.
    pub(crate) fn layer(&self, id: &str) -> PathBuf {
        self.path.join(LAYERS).join(id)
    }

    /// What a home without files lies on.
    pub(crate) fn empty(&self) -> String {
        self.path.join(EMPTY).to_string_lossy().into_owned()
    }

    /// Makes the directory of a new sandbox, with its layer.
    pub(crate) fn make(&self, id: &str) -> Result<OwnedFd, Errno> {
        mkdirat(&self.sandboxes, id, Mode::RWXU)?;
        let dir = self.open_sandbox(id)?;
        make_layer(&dir)?;
        Ok(dir)
    }

    /// Opens the directory of a sandbox.
    pub(crate) fn open_sandbox(&self, id: &str) -> Result<OwnedFd, Errno> {
        openat(&self.sandboxes, id, FLAGS, Mode::empty())
    }
}

/// Makes an empty layer in a sandbox's directory.
pub(crate) fn make_layer(dir: impl AsFd) -> Result<(), Errno> {
    let layer = subdir(dir, "layer", 0o700)?;
    let upper = subdir(&layer, "upper", 0o755)?;
    rustix::fs::fchmod(&upper, Mode::from_raw_mode(0o755))?;
    subdir(&layer, "work", 0o700).map(drop)
}
