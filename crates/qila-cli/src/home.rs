//! `$QILA_HOME`: where runs, evidence and the guest live.
use crate::fail::Fail;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// The state directory, open.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    dir: OwnedFd,
}

const PRIVATE: Mode = Mode::RWXU;

impl Home {
    /// Where the state directory is, by the environment: `$QILA_HOME`, `/var/lib/qila` for root, else the XDG state
    /// directory.
    pub(crate) fn locate() -> Result<PathBuf, Fail> {
        let var = |name: &str| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        if let Some(path) = var("QILA_HOME") {
            return std::path::absolute(&path).map_err(|e| Fail::io("resolving $QILA_HOME", &path, e));
        }
        if rustix::process::geteuid().is_root() {
            return Ok("/var/lib/qila".into());
        }
        if let Some(state) = var("XDG_STATE_HOME").filter(|p| p.is_absolute()) {
            return Ok(state.join("qila"));
        }
        match var("HOME").filter(|p| p.is_absolute()) {
            Some(home) => Ok(home.join(".local/state/qila")),
            None => Err(Fail::new(
                "there is no place to keep state: neither $QILA_HOME, $XDG_STATE_HOME nor $HOME is set",
            )
            .hint("set QILA_HOME to a directory of yours")),
        }
    }

    /// Opens it, making it the first time.
    pub(crate) fn open() -> Result<Home, Fail> {
        let path = Home::locate()?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fail = |e: Errno| {
            Fail::io("opening the state directory", &path, e.into())
                .hint("set QILA_HOME to a directory that you may write")
        };
        let dir = match openat(CWD, &path, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => {
                std::fs::create_dir_all(&path).map_err(|e| {
                    Fail::io("making the state directory", &path, e)
                        .hint("set QILA_HOME to a directory that you may write")
                })?;
                let dir = openat(CWD, &path, flags, Mode::empty()).map_err(fail)?;
                rustix::fs::fchmod(&dir, PRIVATE).map_err(fail)?;
                dir
            }
            Err(e) => return Err(fail(e)),
        };
        let stat = rustix::fs::fstat(&dir).map_err(fail)?;
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(Fail::new(format!(
                "the state directory {} is not yours alone",
                path.display()
            ))
            .hint(format!(
                "run `chown {}` and `chmod 700` on it, or set QILA_HOME",
                rustix::process::geteuid().as_raw()
            )));
        }
        Ok(Home { path, dir })
    }

    /// The directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a subdirectory unless it exists.
    pub(crate) fn subdir(&self, name: &str) -> Result<(), Fail> {
        match mkdirat(&self.dir, name, PRIVATE) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(Fail::io("making", &self.path.join(name), e.into())
                .hint("set QILA_HOME to a directory that you may write")),
        }
    }
}
