//! The launcher's end of a gateway.
use crate::config::{Config, Order};
use crate::keeper;
use crate::link::{Down, MAX_PACKET, Up, decode, encode, messages};
use crate::serve;
use qila_sys::fork::{Fork, Namespaces, exit_now, fork};
use qila_sys::pass;
use qila_types::EventKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use std::time::{Duration, Instant};

/// How long a gateway may take to settle what is under way.
const FAREWELL: Duration = Duration::from_secs(2);
/// Most events taken at once.
const BATCH: usize = 256;

/// A gateway process. Dropping it ends the process.
#[derive(Debug)]
pub struct Gateway {
    link: OwnedFd,
    pidfd: OwnedFd,
    buffer: Vec<u8>,
    ended: bool,
    farewell: Duration,
}

/// What has happened since the last look.
#[derive(Debug, Default)]
pub struct Batch {
    /// Events, in order.
    pub events: Vec<EventKind>,
    /// Whether what it was told to do was done.
    pub changed: Option<Result<(), String>>,
    /// If some of them are waited for: the number to confirm with [`Gateway::written`] once all of them are durable.
    pub confirm: Option<u64>,
}

/// Why a gateway did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct NotReady {
    /// What failed.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// The gateway is gone, or said what it never says: the run must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the gateway is gone: {0}")]
pub struct Gone(String);

impl From<Errno> for Gone {
    fn from(errno: Errno) -> Gone {
        Gone(errno.to_string())
    }
}

impl Gateway {
    /// Forks the process, which begins at once to read credentials and to make its keys. To be called before any
    /// descriptor exists that the gateway must not keep open, and while there is one thread only.
    pub fn start(config: Config) -> Result<Gateway, Errno> {
        let (ours, theirs) = pass::pair()?;
        let mints = config
            .permit
            .policy()
            .credentials
            .iter()
            .any(|c| c.source.mints());
        match fork(Namespaces::NONE)? {
            Fork::Child => {
                drop(ours);
                exit_now(serve::process(config, theirs))
            }
            Fork::Parent { pidfd, .. } => Ok(Gateway {
                link: ours,
                pidfd,
                buffer: vec![0; MAX_PACKET],
                ended: false,
                farewell: farewell(mints),
            }),
        }
    }

    /// Gives up looking after it: the socket to it, and the descriptor of its process.
    pub fn give_away(mut self) -> Result<(OwnedFd, OwnedFd), Errno> {
        let link = rustix::io::fcntl_dupfd_cloexec(&self.link, 3)?;
        let pidfd = rustix::io::fcntl_dupfd_cloexec(&self.pidfd, 3)?;
        self.ended = true;
        Ok((link, pidfd))
    }

    /// Takes over one that another process started and gave away. `mints`: whether its policy has credentials that a provider
    /// mints.
    pub fn adopt(link: OwnedFd, pidfd: OwnedFd, mints: bool) -> Gateway {
        Gateway {
            link,
            pidfd,
            buffer: vec![0; MAX_PACKET],
            ended: false,
            farewell: farewell(mints),
        }
    }

    /// Waits until it is ready. Answers the CA certificate for the sandbox's trust bundle; empty if nothing is intercepted.
    pub fn ready(&mut self) -> Result<String, NotReady> {
        let vanished = |why: &str| NotReady {
            what: format!("the gateway did not start: {why}"),
            hint: String::new(),
        };
        let (n, _) = pass::receive(&self.link, &mut self.buffer).map_err(|e| vanished(&e.to_string()))?;
        match decode::<Up>(self.buffer.get(..n).unwrap_or(&[])) {
            Ok(Up::Ready { ca }) => Ok(ca),
            Ok(Up::Failed { what, hint }) => Err(NotReady { what, hint }),
            _ => Err(vanished("it ended without a word")),
        }
    }

    /// Hands over the sockets made inside the sandbox: TCP, DNS over UDP, DNS over TCP; or the one socket of a proxy for
    /// programs that are in none.
    pub fn listen(&self, listeners: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        pass::send(&self.link, &encode(&Down::Listen)?, listeners)
    }

    /// The socket to wait on.
    pub fn link(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// Takes what is there, without waiting. An end is an error.
    pub fn take(&mut self) -> Result<Batch, Gone> {
        let mut batch = Batch::default();
        while batch.events.len() < BATCH {
            let got = rustix::net::recv(&self.link, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT);
            let n = match got {
                Ok((0, _)) if batch.events.is_empty() => return Err(Gone("it ended without a word".into())),
                Err(Errno::AGAIN) | Ok((0, _)) => break,
                Err(Errno::INTR) => continue,
                Ok((n, _)) => n,
                Err(e) => return Err(e.into()),
            };
            for message in messages(self.buffer.get(..n).unwrap_or(&[])) {
                match decode::<Up>(message)? {
                    Up::Event { seq, wait, kind } => {
                        batch.events.push(kind);
                        if wait {
                            batch.confirm = Some(seq);
                        }
                    }
                    Up::Changed { error } => batch.changed = Some(error.map_or(Ok(()), Err)),
                    Up::Failed { what, .. } => return Err(Gone(what)),
                    Up::Ready { .. } => return Err(Errno::BADMSG.into()),
                }
            }
        }
        Ok(batch)
    }

    /// Tells it to do something. Whether that was done is in a later [`Batch`].
    pub fn order(&self, order: &Order) -> Result<(), Gone> {
        let text = serde_json::to_vec(order).map_err(|e| Gone(e.to_string()))?;
        let file = memfd_create("qila-order", MemfdFlags::CLOEXEC)?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let n = rustix::io::write(&file, rest)?;
            rest = rest.get(n..).unwrap_or(&[]);
        }
        Ok(pass::send(&self.link, &encode(&Down::Change)?, &[file.as_fd()])?)
    }

    /// Confirms that every event up to this number is durable.
    pub fn written(&self, through: u64) -> Result<(), Gone> {
        Ok(pass::send(&self.link, &encode(&Down::Written { through })?, &[])?)
    }

    /// Ends the process, waits until it is gone, and answers what it had said that was not taken yet: whatever it did is
    /// in there, for it speaks before it acts.
    pub fn stop(mut self) -> Result<Vec<EventKind>, Gone> {
        // One that is gone already has nothing more to say.
        let _ = pass::send(&self.link, &encode(&Down::Stop)?, &[]);
        let mut events = Vec::new();
        let start = Instant::now();
        loop {
            let got = rustix::net::recv(&self.link, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT);
            let n = match got {
                Ok((0, _)) => {
                    self.end()?;
                    return Ok(events);
                }
                Err(Errno::AGAIN) => {
                    if start.elapsed() > self.farewell {
                        self.end()?; // what is still in the socket is read all the same
                    }
                    let mut fds = [PollFd::new(&self.link, PollFlags::IN)];
                    let tick = Timespec {
                        tv_sec: 0,
                        tv_nsec: 50_000_000,
                    };
                    match poll(&mut fds, Some(&tick)) {
                        Ok(_) | Err(Errno::INTR) => continue,
                        Err(e) => return Err(e.into()),
                    }
                }
                Ok((n, _)) => n,
                Err(Errno::INTR) => continue,
                // It left something unread, such as the last confirmation.
                Err(Errno::CONNRESET) => continue,
                Err(e) => return Err(e.into()),
            };
            for message in messages(self.buffer.get(..n).unwrap_or(&[])) {
                if let Up::Event { kind, .. } = decode(message)? {
                    events.push(kind);
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), Errno> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(e) => return Err(e),
        }
        match rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)) {
            Ok(_) => Ok(()),
            // Another process's child: its descriptor says when it has ended.
            Err(Errno::CHILD) => {
                let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
                rustix::io::retry_on_intr(|| poll(&mut fds, None)).map(drop)
            }
            Err(e) => Err(e),
        }
    }
}

/// How long one may take to end by itself.
fn farewell(mints: bool) -> Duration {
    match mints {
        true => FAREWELL + keeper::FAREWELL,
        false => FAREWELL,
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
