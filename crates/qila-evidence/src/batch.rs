//! Events that are committed together, and the tickets of those who wait for them.
use crate::error::LogError;
use crate::log::Committed;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Why an event did not become evidence.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The log could not be written.
    #[error("the event could not be recorded")]
    Log(#[source] Arc<LogError>),
    /// The writer was finished before.
    #[error("the event could not be recorded: the writer is finished")]
    Finished,
    /// The event is too large even after shortening.
    #[error("the event is larger than a record may be")]
    TooLarge,
}

/// What became of a batch.
pub(crate) type Done = Result<Committed, WriteError>;

/// Events that share one commit.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    done: Option<Done>,
    wakers: Vec<Waker>,
}

/// A poisoned lock only says that a thread panicked; nothing here is left half changed.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Batch {
    /// Says what became of it, once, and wakes those who wait.
    pub fn settle(&self, done: Done) {
        let mut state = locked(&self.state);
        state.done = Some(done);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.done.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A promise that an event becomes durable. Dropping it does not take the event back.
///
/// Wait for it on a thread with [`Ticket::wait`], or `.await` it in any runtime.
#[derive(Debug)]
#[must_use = "the event is durable only once the ticket was waited for"]
pub struct Ticket {
    pub(crate) batch: Arc<Batch>,
    /// Place in the batch.
    pub(crate) place: u64,
}

impl Ticket {
    /// Waits until the event is on the disk and returns its record's number.
    pub fn wait(self) -> Result<u64, WriteError> {
        let mut state = locked(&self.batch.state);
        loop {
            if let Some(done) = &state.done {
                return done.clone().map(|committed| committed.first_index + self.place);
            }
            state = self
                .batch
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Future for Ticket {
    type Output = Result<u64, WriteError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = locked(&self.batch.state);
        if let Some(done) = &state.done {
            return Poll::Ready(done.clone().map(|committed| committed.first_index + self.place));
        }
        if !state.wakers.iter().any(|w| w.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}
