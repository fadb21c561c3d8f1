//! One channel to a guest. What the guest says is not trusted: every frame is bounded, and a malformed one ends the channel.
use qila_sys::pass;
use qila_wire::WireError;
use qila_wire::served::{Answer, frame, unframe};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// Why a channel ended, or what the guest answered instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// The guest could not do it.
    #[error("{what}: {errno}")]
    Failed { what: String, errno: Errno },
    /// It closed the channel.
    #[error("the guest closed the channel")]
    Closed,
    /// It cannot be reached.
    #[error("the guest cannot be reached: {0}")]
    Broken(Errno),
    /// It said what makes no sense.
    #[error("the guest spoke out of turn: {0}")]
    Confused(String),
}

impl From<Errno> for LineError {
    fn from(errno: Errno) -> LineError {
        LineError::Broken(errno)
    }
}

impl From<WireError> for LineError {
    fn from(error: WireError) -> LineError {
        LineError::Confused(error.to_string())
    }
}

impl From<std::io::Error> for LineError {
    fn from(error: std::io::Error) -> LineError {
        LineError::Broken(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Line {
    fd: AsyncFd<OwnedFd>,
    got: Vec<u8>,
    /// Bytes of `got` that were taken already.
    used: usize,
    /// Descriptors that came and nobody took.
    pub fds: Vec<OwnedFd>,
}

impl Line {
    pub(super) fn new(fd: OwnedFd) -> Result<Line, LineError> {
        Ok(Line {
            fd: crate::ready::of(fd, Interest::READABLE | Interest::WRITABLE)?,
            got: Vec::new(),
            used: 0,
            fds: Vec::new(),
        })
    }

    /// Says something.
    pub(crate) async fn say<T: Serialize>(&self, message: &T) -> Result<(), LineError> {
        let bytes = frame(message)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let mut ready = self.fd.writable().await?;
            match send(self.fd.get_ref(), rest, SendFlags::NOSIGNAL) {
                Ok(n) => rest = rest.get(n..).unwrap_or(&[]),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Hears the next answer, as it is. May be given up at any point: nothing that came is lost.
    pub(crate) async fn next(&mut self) -> Result<Answer, LineError> {
        loop {
            if let Some((answer, length)) = unframe::<Answer>(self.got.get(self.used..).unwrap_or(&[]))? {
                self.used += length;
                if self.used == self.got.len() {
                    self.got.clear();
                    self.used = 0;
                }
                return Ok(answer);
            }
            self.fill().await?;
        }
    }

    /// Hears the next answer. A refusal is an error.
    pub(crate) async fn hear(&mut self) -> Result<Answer, LineError> {
        match self.next().await? {
            Answer::Failed { what, errno } => Err(LineError::Failed {
                what,
                errno: Errno::from_raw_os_error(errno),
            }),
            answer => Ok(answer),
        }
    }

    async fn fill(&mut self) -> Result<(), LineError> {
        let mut ready = self.fd.readable().await?;
        self.got.drain(..self.used);
        self.used = 0;
        let before = self.got.len();
        self.got.resize(before + READ, 0);
        let got = pass::receive_some(
            self.fd.get_ref().as_fd(),
            self.got.get_mut(before..).unwrap_or(&mut []),
        );
        self.got.truncate(before + got.as_ref().map_or(0, |(n, _)| *n));
        match got {
            Ok((0, _)) => Err(LineError::Closed),
            Ok((_, fds)) => {
                self.fds.extend(fds.into_iter().take(pass::MAX_FDS));
                Ok(())
            }
            Err(Errno::AGAIN) => {
                ready.clear_ready();
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The one descriptor that came with an answer.
    pub(crate) fn descriptor(&mut self) -> Result<OwnedFd, LineError> {
        match (self.fds.pop(), self.fds.is_empty()) {
            (Some(fd), true) => Ok(fd),
            _ => Err(LineError::Confused("it sent no descriptor, or several".into())),
        }
    }
}
