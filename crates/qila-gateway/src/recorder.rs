//! Where the gateway's decisions go before they take effect.
use crate::link::{Down, MAX_PACKET, Up, decode, encode};
use crate::rate::Bucket;
use qila_sys::pass;
use qila_types::{Decision, EventKind};
use rustix::fd::OwnedFd;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{Mutex, Notify, watch};

/// Events per second of which the sender is not slowed down, and how many at once: what is denied costs an agent nothing, and
/// is to fill no disk; what is allowed is work, of which much may come at once.
const DENIED: (f64, f64) = (1000.0, 4000.0);
const OTHERS: (f64, f64) = (1000.0, 500_000.0);

/// Bytes of messages that wait to be sent before whoever has another one sends them first.
const FULL: usize = 16 * 1024;

/// The launcher no longer answers: nothing more may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the evidence log no longer answers")]
pub(crate) struct Gone;

/// Sends events to the launcher, which alone writes the log.
#[derive(Debug)]
pub(crate) struct Recorder {
    // A socket that keeps packets apart, in order and without loss: SOCK_SEQPACKET, which tokio has no type of its own for.
    link: UnixDatagram,
    /// Numbers arrive in order: the launcher acknowledges all up to one.
    last: Cell<u64>,
    /// Messages in that order, which go together: each packet wakes the launcher.
    out: RefCell<VecDeque<Vec<u8>>>,
    waiting: Cell<usize>,
    /// Held by who sends.
    sending: Mutex<()>,
    written: watch::Sender<u64>,
    denied: Bucket,
    others: Bucket,
    gone: Cell<bool>,
    /// As many as there are requests under way at most.
    queue: RefCell<VecDeque<EventKind>>,
    more: Notify,
}

impl Recorder {
    /// Over the socket to the launcher.
    pub(crate) fn new(link: OwnedFd) -> std::io::Result<Recorder> {
        rustix::io::ioctl_fionbio(&link, true)?;
        Ok(Recorder {
            link: UnixDatagram::from_std(link.into())?,
            last: Cell::new(0),
            out: RefCell::default(),
            waiting: Cell::new(0),
            sending: Mutex::new(()),
            written: watch::Sender::new(0),
            denied: Bucket::new(DENIED.0, DENIED.1),
            others: Bucket::new(OTHERS.0, OTHERS.1),
            gone: Cell::new(false),
            queue: RefCell::default(),
            more: Notify::new(),
        })
    }

    /// Hands an event over; it will be in the log, but may not be durable yet.
    pub(crate) async fn soon(&self, kind: EventKind) -> Result<(), Gone> {
        self.send(kind, false).await.map(drop)
    }

    /// Hands an event over and waits until it is durable.
    pub(crate) async fn durable(&self, kind: EventKind) -> Result<(), Gone> {
        let mut written = self.written.subscribe();
        let seq = self.send(kind, true).await?;
        // Whoever else has something to say now says it first: one write of the log is for all.
        tokio::task::yield_now().await;
        self.write().await?;
        written
            .wait_for(|through| *through >= seq)
            .await
            .map_err(|_| Gone)?;
        if self.gone.get() { Err(Gone) } else { Ok(()) }
    }

    /// A decision whose effect waits for it.
    pub(crate) async fn decided(&self, decision: Decision) -> Result<(), Gone> {
        self.durable(EventKind::Decision(decision)).await
    }

    /// A decision that has no effect, or a lesser one.
    pub(crate) async fn noted(&self, decision: Decision) -> Result<(), Gone> {
        self.soon(EventKind::Decision(decision)).await
    }

    /// One packet, with the descriptor that came with it. None: there was none after all.
    async fn hear(&self) -> std::io::Result<Option<(Down, Option<OwnedFd>)>> {
        self.link.readable().await?;
        let mut buffer = [0u8; 256];
        let got = self.link.try_io(Interest::READABLE, || {
            pass::receive(&self.link, &mut buffer).map_err(std::io::Error::from)
        });
        match got {
            Ok((0, _)) => Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok((n, mut fds)) => Ok(Some((decode::<Down>(buffer.get(..n).unwrap_or(&[]))?, fds.pop()))),
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    async fn send(&self, kind: EventKind, wait: bool) -> Result<u64, Gone> {
        match &kind {
            EventKind::Decision(d) if !d.allowed => self.denied.take(1).await,
            _ => self.others.take(1).await,
        }
        if self.waiting.get() > FULL {
            self.write().await?;
        }
        let seq = self.last.get().saturating_add(1);
        let message = encode(&Up::Event { seq, wait, kind }).map_err(|_| Gone)?;
        if self.gone.get() {
            return Err(Gone);
        }
        self.last.set(seq);
        self.push(message);
        Ok(seq)
    }

    fn push(&self, message: Vec<u8>) {
        self.waiting.set(self.waiting.get().saturating_add(message.len()));
        self.out.borrow_mut().push_back(message);
        self.more.notify_one();
    }

    /// Sends all that waits. Nothing is lost by whoever stops waiting for that.
    async fn write(&self) -> Result<(), Gone> {
        let _alone = self.sending.lock().await;
        loop {
            let (packet, many) = self.packet();
            if many == 0 {
                return Ok(());
            }
            if self.gone.get() || !matches!(self.link.send(&packet).await, Ok(n) if n == packet.len()) {
                self.gone.set(true);
                return Err(Gone);
            }
            let mut out = self.out.borrow_mut();
            let sent: usize = out.drain(..many).map(|m| m.len()).sum();
            self.waiting.set(self.waiting.get().saturating_sub(sent));
        }
    }

    /// The first messages that wait, as many as fit, and how many they are.
    fn packet(&self) -> (Vec<u8>, usize) {
        let (mut packet, mut many) = (Vec::new(), 0);
        for message in self.out.borrow().iter() {
            if many > 0 && packet.len() + 1 + message.len() > MAX_PACKET {
                break;
            }
            if many > 0 {
                packet.push(b'\n');
            }
            packet.extend_from_slice(message);
            many += 1;
        }
        (packet, many)
    }

    /// Says what became of what it was told to do. What was done is in the log by the time that it is known.
    pub(crate) async fn changed(&self, error: Option<String>) -> Result<(), Gone> {
        self.flush().await;
        self.push(encode(&Up::Changed { error }).map_err(|_| Gone)?);
        self.write().await
    }

    /// Takes the launcher's answers until it goes away. What it is told to do comes in a file, which is given to `obey`; what
    /// becomes of that is said with [`Recorder::changed`].
    ///
    /// Answers whether it was told to stop.
    pub(crate) async fn listen(&self, obey: impl Fn(OwnedFd)) -> bool {
        loop {
            match self.hear().await {
                Ok(Some((Down::Written { through }, _))) => {
                    self.written.send_replace(through);
                }
                Ok(Some((Down::Change, Some(file)))) => obey(file),
                Ok(Some((Down::Stop, _))) => return true,
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => break,
            }
        }
        self.gone.set(true);
        // Whoever waits learns that the answer will not come.
        self.written.send_replace(u64::MAX);
        false
    }

    /// Hands an event over as soon as may be, where nobody can wait.
    pub(crate) fn later(&self, kind: EventKind) {
        self.queue.borrow_mut().push_back(kind);
        self.more.notify_one();
    }

    /// Sends what waits and what was to be sent later, for ever.
    pub(crate) async fn drain(&self) {
        loop {
            self.more.notified().await;
            // What is ready to run meanwhile may have something to say too.
            tokio::task::yield_now().await;
            self.flush().await;
        }
    }

    /// Sends what waits and what was to be sent later.
    pub(crate) async fn flush(&self) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            match next {
                None => break,
                Some(kind) => drop(self.soon(kind).await),
            }
        }
        let _ = self.write().await; // a launcher that is gone is noticed where it is listened to
    }
}
