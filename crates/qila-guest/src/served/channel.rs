//! A connection to the guest, and what is under way on it.
use super::adopt::Adoption;
use alloc::string::ToString;
use alloc::vec::Vec;
use qila_sys::pass;
use qila_wire::served::{Answer, MAX_FRAME, frame, unframe};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use serde::de::DeserializeOwned;

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// How far a channel has followed a program.
pub(super) struct Follows {
    /// The program.
    pub pid: u32,
    /// Next byte of its output to be sent.
    pub at: u64,
    /// Bytes that have been taken at the other end.
    pub taken: u64,
    /// Whether its end was sent.
    pub ended: bool,
    /// Whether nobody is to wait for this one any more.
    pub leaves: bool,
    /// Input came on it, and it was not told yet that there is room for more.
    pub owed: bool,
}

/// A connection to the guest.
pub(super) struct Channel {
    pub fd: OwnedFd,
    got: Vec<u8>,
    out: Vec<u8>,
    sent: usize,
    /// The program that it follows, if it does.
    pub follows: Option<Follows>,
    /// The program that it expects, if it does.
    pub adopts: Option<Adoption>,
    /// Nothing more is said on it once what waits was sent.
    ending: bool,
    /// It has no more use.
    pub closed: bool,
}

impl Channel {
    pub(super) fn new(fd: OwnedFd) -> Channel {
        Channel {
            fd,
            got: Vec::new(),
            out: Vec::new(),
            sent: 0,
            follows: None,
            adopts: None,
            ending: false,
            closed: false,
        }
    }

    /// The program that it follows.
    pub(super) fn program(&self) -> Option<u32> {
        self.follows.as_ref().map(|f| f.pid)
    }

    /// Whether something waits to be sent.
    pub(super) fn has_more(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Reads what is there, as far as there is room.
    pub(super) fn read(&mut self) {
        while !self.closed && self.got.len() < MAX_FRAME + 4 {
            let before = self.got.len();
            self.got.resize(before + READ, 0);
            let got = rustix::io::read(&self.fd, self.got.get_mut(before..).unwrap_or(&mut []));
            self.got.truncate(before + got.unwrap_or(0));
            match got {
                Ok(0) => self.closed = true,
                Ok(n) if n < READ => return,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.closed = true,
            }
        }
    }

    /// The next message that is there as a whole. A malformed one ends the channel.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Option<T> {
        match unframe::<T>(&self.got) {
            Ok(Some((message, length))) => {
                self.got.drain(..length);
                if self.got.is_empty() {
                    self.got = Vec::new();
                }
                Some(message)
            }
            Ok(None) => None,
            Err(_) => {
                self.closed = true;
                None
            }
        }
    }

    /// Bytes that came and were not read as a message yet.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.got)
    }

    /// Says something, now or when there is room.
    pub(super) fn say(&mut self, answer: &Answer) {
        match frame(answer) {
            Ok(bytes) => {
                self.out.extend_from_slice(&bytes);
                self.write();
            }
            Err(_) => self.closed = true,
        }
    }

    /// Says the last thing.
    pub(super) fn last(&mut self, answer: &Answer) {
        self.ending = true;
        self.say(answer);
    }

    /// Says what became of something, and nothing more.
    pub(super) fn done(&mut self, what: &str, result: Result<(), Errno>) {
        match result {
            Ok(()) => self.last(&Answer::Done),
            Err(e) => self.fail(what, e),
        }
    }

    /// Says that it cannot be done.
    pub(super) fn fail(&mut self, what: &str, errno: Errno) {
        self.last(&Answer::Failed {
            what: what.to_string(),
            errno: errno.raw_os_error(),
        });
    }

    /// Says the last thing, with descriptors.
    pub(super) fn pass(&mut self, answer: &Answer, fds: &[BorrowedFd<'_>]) {
        if let Ok(bytes) = frame(answer) {
            let _ = pass::send(&self.fd, &bytes, fds);
        }
        self.closed = true;
    }

    /// Sends what can be sent.
    pub(super) fn write(&mut self) {
        while self.has_more() {
            let rest = self.out.get(self.sent..).unwrap_or(&[]);
            match send(&self.fd, rest, SendFlags::NOSIGNAL) {
                Ok(n) => self.sent += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.closed = true;
                    return;
                }
            }
        }
        self.out = Vec::new();
        self.sent = 0;
        self.closed |= self.ending;
    }
}
