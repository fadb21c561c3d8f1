//! The node's end of a warm program: a socket of packets. After its first word the program says nothing more on it.
use super::fault::ZygoteError;
use crate::guest;
use qila_sys::pass;
use qila_wire::served::{Answer, Ask, Exec, Say};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::{Errno, ioctl_fionbio};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a program says once it is warm.
const WORD: &[u8] = b"w";
/// Most that is kept of what a program said that did not become warm, in bytes.
const LAST_WORDS: usize = 2048;
/// How long its last words may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A warm program.
#[derive(Debug)]
pub(super) struct Link {
    fd: AsyncFd<OwnedFd>,
}

/// Starts a program in its sandbox and waits until it is warm.
pub(super) async fn warm(dir: &OwnedFd, program: &Exec, limit: Duration) -> Result<Link, ZygoteError> {
    let (mut line, answer) = guest::request(dir, &Ask::Zygote(program.clone())).await?;
    let Answer::Started { pid } = answer else {
        return Err(ZygoteError::Guest(
            "it did not say that the zygote started".into(),
        ));
    };
    let fd = line.descriptor()?;
    ioctl_fionbio(&fd, true).map_err(ZygoteError::Broken)?;
    let both = Interest::READABLE | Interest::WRITABLE;
    let fd = crate::ready::of(fd, both)
        .map_err(|e| ZygoteError::Broken(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    let link = Link { fd };
    let why = match tokio::time::timeout(limit, link.word()).await {
        Ok(Ok(())) => return Ok(link),
        Ok(Err(e)) => e.to_string(),
        Err(_) => format!("it took longer than {} s", limit.as_secs()),
    };
    drop(link);
    let said = tokio::time::timeout(PATIENCE, last_words(dir, pid))
        .await
        .unwrap_or_default();
    Err(ZygoteError::Cold(format!("{why}; {}", said.trim())))
}

/// What a program said that did not become warm. It is told to end, should it not have.
async fn last_words(dir: &OwnedFd, pid: u32) -> String {
    let mut said = Vec::new();
    let end = Ask::Tell {
        pid,
        say: Say::Signal(9),
    };
    let asked = guest::request(dir, &Ask::Attach { pid, from: Some(0) }).await;
    let _ = guest::request(dir, &end).await; // one that has ended cannot be told
    if let Ok((mut line, _)) = asked {
        while let Ok(Answer::Output { at, bytes, .. }) = line.hear().await {
            let taken = at.saturating_add(bytes.len() as u64);
            said.extend(bytes);
            let over = said.len().saturating_sub(LAST_WORDS);
            said.drain(..over);
            if line.say(&Say::Taken(taken)).await.is_err() {
                break;
            }
        }
        let _ = line.say(&Say::Taken(u64::MAX)).await; // nobody else wants to know of its end
    }
    String::from_utf8_lossy(&said).into_owned()
}

impl Link {
    /// Hears its first word.
    async fn word(&self) -> Result<(), ZygoteError> {
        let mut buffer = [0u8; 16];
        loop {
            let mut ready = self.fd.readable().await.map_err(|_| ZygoteError::Gone)?;
            match pass::receive(self.fd.get_ref(), &mut buffer) {
                Ok((n, _)) if buffer.get(..n) == Some(WORD) => return Ok(()),
                Ok(_) => return Err(ZygoteError::Gone),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(e) => return Err(ZygoteError::Broken(e)),
            }
        }
    }

    /// Whether the program is there: it says nothing, so that there is something to read only when it is gone.
    pub(super) fn is_there(&self) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut [PollFd::new(self.fd.get_ref(), PollFlags::IN)], Some(&now)) == Ok(0)
    }

    /// Asks for a fork: as a whole, or not at all.
    pub(super) async fn ask(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ZygoteError> {
        loop {
            let mut ready = self.fd.writable().await.map_err(|_| ZygoteError::Gone)?;
            match pass::send(self.fd.get_ref(), packet, fds) {
                Ok(()) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ZygoteError::Gone),
                Err(e) => return Err(ZygoteError::Broken(e)),
            }
        }
    }
}
