//! The group committer: one thread, one bounded queue, one `fdatasync` for all that wait at that moment.
use crate::batch::{Batch, Ticket, WriteError, locked};
use crate::error::LogError;
use crate::frame::HEADER;
use crate::leaf;
use crate::log::Log;
use crate::store::MAX_BATCH;
use qila_types::{Event, EventKind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// Most events that wait for a commit.
pub const QUEUE: usize = 16_384;
/// Events that nobody waits for leave this share of the queue to those that somebody does.
const SOON_SHARE: usize = 2;

/// The queue has no room for an event that nobody waits for; the loss is counted and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the evidence queue is full; the event is lost, and its loss will be recorded")]
pub struct Full;

/// Commits events of many threads together. Its thread ends with [`Writer::finish`] or when it is dropped.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Log>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something to do for the thread.
    work: Condvar,
    /// The queue was taken.
    room: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    records: Vec<Vec<u8>>,
    bytes: usize,
    batch: Arc<Batch>,
    /// Events refused or in a failed commit with nobody waiting, not yet recorded as a gap.
    lost: u64,
    /// How many of the records nobody waits for.
    unwatched: u64,
    finished: bool,
    failure: Option<WriteError>,
}

impl Queue {
    fn room(&self, bytes: usize, share: usize) -> bool {
        self.records.len() < QUEUE / share && self.bytes + bytes <= MAX_BATCH / share
    }

    fn push(&mut self, record: Vec<u8>) -> Ticket {
        let place = self.records.len() as u64;
        self.bytes += HEADER + record.len();
        self.records.push(record);
        Ticket {
            batch: self.batch.clone(),
            place,
        }
    }
}

impl Writer {
    /// Starts the thread.
    pub fn start(log: Log) -> Result<Writer, LogError> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("evidence".to_owned())
            .spawn(move || theirs.run(log))
            .map_err(|e| LogError::io("start the writer", e))?;
        Ok(Writer {
            shared,
            thread: Some(thread),
        })
    }

    /// Hands over an event that must be durable before something happens; waits while the queue is full.
    pub fn durable(&self, event: &Event) -> Result<Ticket, WriteError> {
        let record = leaf::encode(event).ok_or(WriteError::TooLarge)?;
        let mut queue = locked(&self.shared.queue);
        while !queue.finished && !queue.room(HEADER + record.len(), 1) {
            queue = self
                .shared
                .room
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if queue.finished {
            return Err(WriteError::Finished);
        }
        let ticket = queue.push(record);
        drop(queue);
        self.shared.work.notify_one();
        Ok(ticket)
    }

    /// Hands over an event that nobody waits for; it is committed with the next ones. Never waits for the disk.
    ///
    /// What is refused, or lost in a failed commit, is recorded as a gap with its count once the log takes records.
    pub fn soon(&self, event: &Event) -> Result<(), Full> {
        let record = leaf::encode(event);
        let mut queue = locked(&self.shared.queue);
        match record {
            Some(record) if !queue.finished && queue.room(HEADER + record.len(), SOON_SHARE) => {
                drop(queue.push(record));
                queue.unwatched += 1;
                drop(queue);
                self.shared.work.notify_one();
                Ok(())
            }
            _ => {
                queue.lost += 1;
                Err(Full)
            }
        }
    }

    /// Commits what waits, ends the thread and gives the log back; an error if any event was lost since the start.
    pub fn finish(mut self) -> Result<Log, WriteError> {
        let log = self.end().ok_or(WriteError::Finished)?;
        match locked(&self.shared.queue).failure.take() {
            Some(failure) => Err(failure),
            None => Ok(log),
        }
    }

    fn end(&mut self) -> Option<Log> {
        locked(&self.shared.queue).finished = true;
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl Shared {
    fn run(&self, mut log: Log) -> Log {
        loop {
            let mut queue = locked(&self.queue);
            while queue.records.is_empty() && !queue.finished {
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.records.is_empty() && queue.lost == 0 {
                return log;
            }
            let mut records = std::mem::take(&mut queue.records);
            let batch = std::mem::take(&mut queue.batch);
            let (lost, unwatched) = (
                std::mem::take(&mut queue.lost),
                std::mem::take(&mut queue.unwatched),
            );
            let last = queue.finished;
            queue.bytes = 0;
            drop(queue);
            self.room.notify_all();
            records.extend((lost > 0).then(|| gap(lost)).flatten());
            let done = log
                .append_records(&records)
                .map_err(|e| WriteError::Log(Arc::new(e)));
            if let Err(failure) = &done {
                let mut queue = locked(&self.queue);
                queue.lost += lost + unwatched;
                queue.failure = Some(failure.clone());
                if last {
                    drop(queue);
                    batch.settle(done);
                    return log;
                }
            }
            batch.settle(done);
        }
    }
}

fn gap(lost: u64) -> Option<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let reason = "events came faster than they could be written, or a commit failed".to_owned();
    leaf::encode(&Event {
        time_ms,
        run: None,
        kind: EventKind::Gap { lost, reason },
    })
}
