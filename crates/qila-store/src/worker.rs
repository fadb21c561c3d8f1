//! Threads that own a connection each: one that writes, committing what waits together, and some that read.
use crate::{Result, StoreError};
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait in one queue.
const QUEUE: usize = 1024;
/// Requests that one transaction holds at most.
const BATCH: usize = 256;
/// How long a request waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(10);

/// A request. It may be attempted twice, if the transaction of the first attempt is rolled back.
trait Job: Send {
    /// Does it. An error that concerns this request alone is kept for its answer; one that breaks the transaction is returned.
    fn attempt(&mut self, db: &Connection) -> Result<bool>;
    /// Tells who asked.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

struct Request<T, F> {
    work: F,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: FnMut(&Connection) -> Result<T> + Send> Job for Request<T, F> {
    fn attempt(&mut self, db: &Connection) -> Result<bool> {
        match (self.work)(db) {
            Err(error) if error.breaks_batch() => Err(error),
            outcome => {
                let good = outcome.is_ok();
                self.outcome = Some(outcome);
                Ok(good)
            }
        }
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let answer = match (failure, self.outcome) {
            (Some(error), _) => Err(error),
            (None, Some(outcome)) => outcome,
            (None, None) => Err(StoreError::Closed),
        };
        // Whoever asked may have stopped waiting: what was done is done.
        drop(self.reply.send(answer));
    }
}

type Boxed = Box<dyn Job>;

/// The way to some threads.
#[derive(Clone)]
pub(crate) struct Worker {
    queue: mpsc::Sender<Boxed>,
}

impl Worker {
    /// Starts the thread that writes.
    pub fn writer(db: Connection, directory: PathBuf) -> Result<Worker> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        spawn("store-writer", move || write(&db, waiting, &directory))?;
        Ok(Worker { queue })
    }

    /// Starts a thread that reads for each connection.
    pub fn readers(connections: Vec<Connection>, directory: PathBuf) -> Result<Worker> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let waiting = Arc::new(Mutex::new(waiting));
        for db in connections {
            let (waiting, directory) = (Arc::clone(&waiting), directory.clone());
            spawn("store-reader", move || read(&db, &waiting, &directory))?;
        }
        Ok(Worker { queue })
    }

    /// Has it done, and waits for the answer. Giving up waiting does not undo it.
    pub async fn ask<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Request {
            work,
            outcome: None,
            reply,
        });
        match tokio::time::timeout(PATIENCE, self.queue.send(job)).await {
            Err(_) => return Err(StoreError::Busy),
            Ok(Err(_)) => return Err(StoreError::Closed),
            Ok(Ok(())) => {}
        }
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Requests that wait.
    pub fn depth(&self) -> usize {
        QUEUE.saturating_sub(self.queue.capacity())
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    let made = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    made.map(drop).map_err(StoreError::Thread)
}

fn read(db: &Connection, waiting: &Mutex<mpsc::Receiver<Boxed>>, directory: &std::path::Path) {
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(mut job) = next else { return };
        let failure = job.attempt(db).err().map(|error| error.judged(directory));
        job.answer(failure);
    }
}

fn write(db: &Connection, mut waiting: mpsc::Receiver<Boxed>, directory: &std::path::Path) {
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH {
            let Ok(next) = waiting.try_recv() else { break };
            batch.push(next);
        }
        match together(db, &mut batch) {
            Ok(()) => batch.into_iter().for_each(|job| job.answer(None)),
            // One of them may be too much for the disk, say, and the others not.
            Err(_) => {
                for job in batch {
                    let mut alone = [job];
                    let failure = together(db, &mut alone).err();
                    let [job] = alone;
                    job.answer(failure.map(|error| error.judged(directory)));
                }
            }
        }
    }
}

/// All of them in one transaction, each with its own undo.
fn together(db: &Connection, batch: &mut [Boxed]) -> Result<()> {
    let run = |sql: &str| db.prepare_cached(sql).and_then(|mut s| s.execute([]).map(drop));
    let mut whole = || -> Result<()> {
        run("BEGIN IMMEDIATE")?;
        for job in batch.iter_mut() {
            run("SAVEPOINT one")?;
            if !job.attempt(db)? {
                run("ROLLBACK TO one")?;
            }
            run("RELEASE one")?;
        }
        run("COMMIT")?;
        Ok(())
    };
    let done = whole();
    // A full disk may have rolled it back already.
    if done.is_err() && !db.is_autocommit() {
        run("ROLLBACK")?;
    }
    done
}
