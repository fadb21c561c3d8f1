//! Moving bytes between the caller's streams and the agent's, without ever blocking on either.
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;

/// Bytes kept of what one side has sent and the other has not taken.
const CAPACITY: usize = 64 * 1024;
/// Bytes asked for at first: most runs say little, and memory that is not touched costs nothing.
const FIRST: usize = 4096;
/// A pipe that is ready takes this much without blocking (`PIPE_BUF`).
const ATOMIC: usize = 4096;

/// One direction.
#[derive(Debug)]
pub(crate) struct Relay {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    buffer: Vec<u8>,
    sent: usize,
    ask: usize,
    /// Bytes taken in so far.
    pub total: u64,
    limit: Option<u64>,
}

/// What a step of a relay found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// Nothing out of the ordinary.
    On,
    /// The reader's side is gone; what comes is thrown away.
    Deaf,
}

impl Relay {
    /// From one descriptor to another; each is closed when it has no more use.
    pub(crate) fn new(from: OwnedFd, to: OwnedFd) -> Relay {
        Relay {
            from: Some(from),
            to: Some(to),
            buffer: Vec::new(),
            sent: 0,
            ask: FIRST,
            total: 0,
            limit: None,
        }
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> Option<PollFd<'_>> {
        if self.sent < self.buffer.len() {
            let to = self.to.as_ref()?;
            return Some(PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT));
        }
        self.from
            .as_ref()
            .map(|f| PollFd::from_borrowed_fd(f.as_fd(), PollFlags::IN))
    }

    /// Whether everything that will ever come has been passed on.
    pub(crate) fn finished(&self) -> bool {
        self.from.is_none() && self.sent >= self.buffer.len()
    }

    /// Sets how many bytes may pass in all; what comes beyond is dropped, and counted.
    pub(crate) fn limit(&mut self, bytes: u64) {
        self.limit = Some(bytes);
    }

    /// Does what [`Relay::interest`] waited for.
    pub(crate) fn step(&mut self) -> Moved {
        if self.sent < self.buffer.len() {
            self.give()
        } else {
            self.take()
        }
    }

    /// Reads, and passes on at once what can be.
    fn take(&mut self) -> Moved {
        let Some(from) = &self.from else { return Moved::On };
        self.buffer.resize(self.ask, 0);
        self.sent = 0;
        let got = rustix::io::read(from, self.buffer.as_mut_slice());
        self.buffer.truncate(got.as_ref().map_or(0, |n| *n));
        match got {
            Ok(0) | Err(Errno::IO) => self.close(),
            Ok(n) => {
                if n == self.ask {
                    self.ask = CAPACITY;
                }
                let before = self.total;
                self.total = self.total.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
                if let Some(limit) = self.limit {
                    let room = usize::try_from(limit.saturating_sub(before)).unwrap_or(usize::MAX);
                    self.buffer.truncate(room);
                }
                if self.to.is_none() {
                    self.buffer.clear();
                }
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.close(),
        }
        Moved::On
    }

    fn give(&mut self) -> Moved {
        let Some(to) = &self.to else { return Moved::On };
        let rest = self.buffer.get(self.sent..).unwrap_or(&[]);
        let piece = rest.get(..ATOMIC).unwrap_or(rest);
        match rustix::io::write(to, piece) {
            Ok(n) => self.sent += n,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => {
                self.to = None;
                self.buffer.clear();
                self.sent = 0;
                return Moved::Deaf;
            }
        }
        if self.finished() {
            self.to = None;
        }
        Moved::On
    }

    fn close(&mut self) {
        self.from = None;
        if self.sent >= self.buffer.len() {
            self.to = None;
        }
    }
}
