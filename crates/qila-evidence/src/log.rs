//! The log, open for appending: every commit is under the lock and on the disk before it is acknowledged.
use crate::dir::{Dir, Lock};
use crate::error::LogError;
use crate::leaf;
use crate::store::Store;
use qila_types::Event;
use std::os::fd::BorrowedFd;

/// What was made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Number of the first of the records; the others follow it.
    pub first_index: u64,
    /// Number of records in the log afterwards.
    pub size: u64,
}

/// An evidence log, open for appending. Many processes may have it open at once. It has no thread of its own.
#[derive(Debug)]
pub struct Log {
    lock: Lock,
    store: Store,
}

impl Log {
    /// Opens the log in a directory, making it if there is none, and recovers what a crash left.
    pub fn open(dir: BorrowedFd<'_>) -> Result<Log, LogError> {
        let dir = Dir::new(dir)?;
        dir.check_private()?;
        let lock = dir.lock_file()?;
        let store = lock.hold(false, || Store::open(dir))?;
        Ok(Log { lock, store })
    }

    /// Appends events. On return they are on the disk, in this order, with none of others between them.
    ///
    /// After an error none of them is part of the log, but where there were more than 4 MiB of them: those take several
    /// commits, and some may have been made.
    pub fn append(&mut self, events: &[Event]) -> Result<Committed, LogError> {
        let records: Option<Vec<Vec<u8>>> = events.iter().map(leaf::encode).collect();
        self.append_records(&records.ok_or(LogError::TooLarge)?)
    }

    /// The same for records that are encoded already.
    pub(crate) fn append_records(&mut self, records: &[Vec<u8>]) -> Result<Committed, LogError> {
        let Log { lock, store } = self;
        lock.hold(false, || store.commit(records))
    }

    /// The number of records at the last commit by this value.
    pub fn size(&self) -> u64 {
        self.store.tip.frontier.size()
    }

    /// The signed checkpoint of the last commit by this value. Kept elsewhere, it proves a later truncation.
    pub fn checkpoint(&self) -> &str {
        &self.store.tip.note
    }

    /// The log's public key as a C2SP verifier key, for those who verify it elsewhere.
    pub fn public_key(&self) -> String {
        self.store.key.public().to_string()
    }
}
