//! A file of accounts.
use crate::record::{Record, SIZE};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Most accounts in one file.
const MAX: usize = 1024;
/// Longest wait for another process that works on it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between two tries: they grow, so that many who wait do not keep the one who works from it.
const PAUSES: std::ops::Range<Duration> = Duration::from_micros(20)..Duration::from_millis(4);

/// An account could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The file.
    #[error("the file of a budget cannot be used: {0}")]
    File(#[from] std::io::Error),
    /// Somebody holds it and does nothing.
    #[error("the file of a budget is held by another process that does not go on")]
    Held,
    /// Both copies of an account are damaged.
    #[error("an account of a budget is damaged")]
    Damaged,
    /// There are too many.
    #[error("a budget has more than {MAX} accounts or an account more owners than fit")]
    Full,
}

impl From<Errno> for BookError {
    fn from(errno: Errno) -> BookError {
        BookError::File(errno.into())
    }
}

/// A file of accounts, open.
#[derive(Debug)]
pub(crate) struct Book {
    file: File,
    /// Keys of the accounts that were seen, in their order.
    known: Vec<[u8; 32]>,
    sync: bool,
}

/// A book that nobody else works on.
pub(crate) struct Locked<'a>(&'a mut Book);

impl Book {
    pub(crate) fn new(file: File, sync: bool) -> Book {
        Book {
            file,
            known: Vec::new(),
            sync,
        }
    }

    /// Keeps all others out until the answer is dropped.
    pub(crate) fn lock(&mut self) -> Result<Locked<'_>, BookError> {
        let (start, mut pause) = (Instant::now(), PAUSES.start);
        loop {
            match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Locked(self)),
                Err(Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(pause);
                    pause = pause.saturating_mul(2).min(PAUSES.end);
                }
                Err(Errno::WOULDBLOCK) => return Err(BookError::Held),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = flock(&self.0.file, FlockOperation::Unlock);
    }
}

impl Locked<'_> {
    /// The account at a place. None: there is none yet.
    fn at(&self, place: usize) -> Result<Option<Record>, BookError> {
        let mut both = vec![0u8; 2 * SIZE];
        let mut filled = 0;
        while let Some(rest) = both.get_mut(filled..).filter(|r| !r.is_empty()) {
            match self.0.file.read_at(rest, offset(place, filled)) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        let copies = both.chunks(SIZE).filter_map(Record::decode);
        match copies.max_by_key(|r| r.sequence) {
            Some(record) => Ok(Some(record)),
            // A first write that was cut off was never acted on.
            None if both.iter().skip(SIZE).all(|b| *b == 0) => Ok(None),
            None => Err(BookError::Damaged),
        }
    }

    /// The account of a key, where it lies or is to lie.
    pub(crate) fn find(&mut self, key: [u8; 32]) -> Result<(usize, Record), BookError> {
        if let Some(place) = self.0.known.iter().position(|k| *k == key)
            && let Some(record) = self.at(place)?
        {
            return Ok((place, record));
        }
        self.0.known.clear();
        for place in 0..MAX {
            match self.at(place)? {
                None => return Ok((place, Record::new(key))),
                Some(record) => {
                    self.0.known.push(record.key);
                    if record.key == key {
                        return Ok((place, record));
                    }
                }
            }
        }
        Err(BookError::Full)
    }

    /// Every account.
    pub(crate) fn all(&self) -> Result<Vec<Record>, BookError> {
        let mut out = Vec::new();
        while out.len() < MAX
            && let Some(record) = self.at(out.len())?
        {
            out.push(record);
        }
        Ok(out)
    }

    /// Writes an account beside what was there before.
    pub(crate) fn put(&mut self, place: usize, record: &mut Record) -> Result<(), BookError> {
        record.sequence = record.sequence.saturating_add(1);
        let bytes = record.encode().ok_or(BookError::Full)?;
        // The first write goes to the first copy (see `at`), each other beside the one before it.
        let copy = usize::from(record.sequence.is_multiple_of(2));
        self.0.file.write_all_at(&bytes, offset(place, copy * SIZE))?;
        if self.0.sync {
            self.0.file.sync_data()?;
        }
        Ok(())
    }
}

fn offset(place: usize, within: usize) -> u64 {
    (place * 2 * SIZE + within) as u64
}
