//! What was being done to which path when the kernel refused.
use crate::quote_path;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// A system call that failed, with what it was for and the path (relative to the workspace, layer or run) it was about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{action} {}", quote_path(path))]
pub struct At {
    /// What was being done, such as `reading`.
    pub action: &'static str,
    /// The path, quoted when printed: an agent chose its bytes.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: Errno,
}

impl At {
    pub(crate) fn new(action: &'static str, path: &Path, source: Errno) -> At {
        At {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Adds the action and path to a failed call.
pub(crate) trait Context<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, At>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, At> {
        self.map_err(|e| At::new(action, path, e))
    }
}
