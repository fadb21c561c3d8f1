//! Why the store did not do it.
use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// Bytes below which a file system counts as full when a write to it failed.
const FULL_BELOW: u64 = 64 << 10;

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full. Nothing that was acknowledged is lost; it works again as soon as there is room.
    #[error("no space left for the state of the node")]
    NoSpace,
    /// Others had the database, or the queue, for longer than one waits.
    #[error("the state of the node is busy")]
    Busy,
    /// The file is no database, or a damaged one.
    #[error("the state of the node is damaged: {0}")]
    Corrupt(String),
    /// A later Qila wrote it.
    #[error(
        "the state of the node has schema {found}, and this qila knows up to {known}: a newer qila wrote it"
    )]
    TooNew {
        /// Its schema.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// A body is larger than [`crate::MAX_BODY`].
    #[error("{0} bytes are more than one document may have")]
    TooLarge(usize),
    /// There is one of this name already.
    #[error("{0} is there already")]
    Exists(String),
    /// It is still needed.
    #[error("{0} is in use")]
    InUse(String),
    /// There is no such tenant.
    #[error("there is no tenant `{0}`")]
    NoTenant(String),
    /// A thread of the store is gone.
    #[error("the store is closed")]
    Closed,
    /// The file cannot be made or opened.
    #[error("cannot open {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread of the store")]
    Thread(#[source] std::io::Error),
    /// Anything else that SQLite says.
    #[error("the state of the node cannot be read or written")]
    Database(#[source] rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::NoSpace,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Corrupt(error.to_string())
            }
            _ => StoreError::Database(error),
        }
    }
}

impl StoreError {
    /// Whether the transaction as a whole is in doubt, not one request in it alone.
    pub(crate) fn breaks_batch(&self) -> bool {
        !matches!(
            self,
            StoreError::TooLarge(_) | StoreError::Exists(_) | StoreError::InUse(_) | StoreError::NoTenant(_)
        )
    }

    /// SQLite says of some failed writes only that input or output failed: a full file system is then told apart here.
    pub(crate) fn judged(self, directory: &Path) -> StoreError {
        let StoreError::Database(error) = &self else {
            return self;
        };
        let io = matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
        );
        match rustix::fs::statvfs(directory) {
            Ok(fs) if io && fs.f_bavail.saturating_mul(fs.f_frsize) < FULL_BELOW => StoreError::NoSpace,
            _ => self,
        }
    }
}
