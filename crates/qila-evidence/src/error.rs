//! What can go wrong with an open log.
use crate::note::NoteError;
use std::io;

/// Why a log could not be opened, read or written. Nothing of the failed call was acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused.
    #[error("evidence log: could not {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// The disk, a quota or the largest file size is reached.
    #[error("evidence log: no space left; free some and try again")]
    NoSpace {
        /// The reason.
        source: io::Error,
    },
    /// The directory or the key belongs to somebody else, or others may use it.
    #[error("evidence log: {what} must be yours and closed to others (chmod go-rwx)")]
    Insecure {
        /// The directory or the key.
        what: &'static str,
    },
    /// Another process held the lock for too long.
    #[error("evidence log: another process has held the lock for ten seconds")]
    Busy,
    /// The files contradict each other in a way no crash explains; nothing was changed.
    #[error(
        "evidence log: {why} (record {index}, byte {offset}); `qila audit verify` says more. \
         Move the evidence directory aside to begin a new log"
    )]
    Corrupt {
        /// What was found.
        why: &'static str,
        /// Number of the first record that is not proved.
        index: u64,
        /// Offset in the file `log`.
        offset: u64,
    },
    /// The signing key is missing although there are records.
    #[error("evidence log: there are records but no signing key; restore `key`, or move the directory aside")]
    KeyMissing,
    /// There is no public key beside the log.
    #[error("evidence log: there is no `key.pub` beside the log; give its public key")]
    PublicKeyMissing,
    /// The key is damaged.
    #[error("evidence log: the key cannot be used")]
    Key {
        /// What is wrong with it.
        source: NoteError,
    },
    /// The checkpoint that was given to compare with is not one of this log's key.
    #[error("the checkpoint given cannot be used")]
    Trusted {
        /// What is wrong with it.
        source: NoteError,
    },
    /// The event is too large even after shortening.
    #[error("evidence log: an event is larger than a record may be")]
    TooLarge,
    /// An earlier `fdatasync` failed, so that what the disk holds is unknown.
    #[error("evidence log: the disk failed to keep earlier records; check it and start again")]
    Broken,
}

impl LogError {
    /// An I/O error, told apart by what a user can do about it.
    pub(crate) fn io(what: &'static str, source: impl Into<io::Error>) -> LogError {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                LogError::NoSpace { source }
            }
            _ => LogError::Io { what, source },
        }
    }
}
