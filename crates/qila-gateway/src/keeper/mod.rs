//! Whoever reads and mints values: a process beside the gateway, which has no walls of its own and needs none, for nothing that an
//! agent or an upstream says ever reaches it. What mints (tokens, keys, client secrets) never leaves it; the gateway gets what was
//! minted.
//!
//! It takes back whatever it has minted when it is told that the run has ended, and by itself when the gateway is gone.
mod book;
mod message;
mod mint;
mod process;
pub(crate) mod reclaim;
mod rotated;
mod send;
mod source;

pub use source::available;

use crate::config::{Leases, Upstream};
use message::{Answer, Ask, MAX_ANSWER, Question};
pub(crate) use message::{Had, Left};
use qila_policy::model::{Aws, SecretRef, Source};
use qila_sys::fork::{Fork, Namespaces, exit_now, fork};
use qila_sys::pass;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
pub(crate) use source::{Places, value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::net::UnixDatagram;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// Longest time that an answer may take: a program's or a provider's own, and some.
const PATIENCE: Duration = Duration::from_secs(40);
/// Longest time that taking everything back may take when a run ends.
pub(crate) const FAREWELL: Duration = Duration::from_secs(10);

/// How a value is had.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// Read as it stands.
    Text(SecretRef),
    /// The two or three parts of keys.
    Keys(Aws),
    /// Minted by a provider.
    Mint(Source),
}

/// All that it needs.
pub(crate) struct Setup {
    /// Name of each credential, and how its value is had if that is for it to do, in the policy's order.
    pub(crate) tasks: Vec<(String, Option<Task>)>,
    pub(crate) places: Places,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) upstream_ca: Vec<PathBuf>,
    pub(crate) leases: Option<Leases>,
}

impl Setup {
    /// Whether anything is minted, and so taken back.
    fn mints(&self) -> bool {
        self.tasks
            .iter()
            .any(|(_, task)| matches!(task, Some(Task::Mint(_))))
    }
}

/// The gateway's end.
pub(crate) struct Keeper {
    link: RefCell<Option<OwnedFd>>,
    open: tokio::sync::OnceCell<UnixDatagram>,
    last: Cell<u32>,
    waiting: RefCell<BTreeMap<u32, oneshot::Sender<Answer>>>,
}

impl Keeper {
    /// Forks the process. To be called while there is one thread only, and before the walls are up.
    pub(crate) fn start(setup: Setup) -> Result<Keeper, Errno> {
        let (ours, theirs) = pass::pair()?;
        match fork(Namespaces::NONE)? {
            Fork::Child => {
                drop(ours);
                exit_now(process::run(setup, theirs))
            }
            Fork::Parent { .. } => Ok(Keeper {
                link: RefCell::new(Some(ours)),
                open: tokio::sync::OnceCell::new(),
                last: Cell::new(0),
                waiting: RefCell::default(),
            }),
        }
    }

    fn question(&self, ask: Ask) -> Result<(u32, Vec<u8>), String> {
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        Question { number, ask }.encode().map(|text| (number, text))
    }

    /// First values, asked for all at once, before anything else goes on here.
    pub(crate) fn first(&self, wanted: &[usize]) -> Result<BTreeMap<usize, Result<Had, String>>, String> {
        let gone = |e: Errno| format!("cannot be had: {e}");
        let link = self.link.borrow();
        let link = link.as_ref().ok_or("cannot be had: too late")?;
        let mut asked = BTreeMap::new();
        for at in wanted {
            let (number, text) = self.question(Ask::Value(*at))?;
            pass::send(link, &text, &[]).map_err(gone)?;
            asked.insert(number, *at);
        }
        let (mut had, end) = (BTreeMap::new(), Instant::now() + PATIENCE);
        let mut buffer = Zeroizing::new(vec![0u8; MAX_ANSWER]);
        while !asked.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).map_err(|e| e.to_string())?;
            match poll(&mut [PollFd::new(link, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return Err("cannot be had: it takes too long".into()),
                Err(Errno::INTR) => continue,
                Err(e) => return Err(gone(e)),
                Ok(_) => {}
            }
            let (n, _) = pass::receive(link, &mut buffer).map_err(gone)?;
            let answer = Answer::decode(buffer.get(..n).unwrap_or(&[]))?;
            if let Some(at) = asked.remove(&answer.number) {
                had.insert(at, answer.had);
            }
        }
        Ok(had)
    }

    /// The socket, once there is a runtime.
    async fn link(&self) -> Result<&UnixDatagram, String> {
        let open = self.open.get_or_try_init(|| async {
            let link = self.link.borrow_mut().take().ok_or(Errno::BADF)?;
            rustix::io::ioctl_fionbio(&link, true)?;
            UnixDatagram::from_std(link.into())
        });
        open.await.map_err(|e| format!("cannot be had: {e}"))
    }

    /// Hands answers to who waits for them, for ever.
    pub(crate) async fn listen(&self) {
        let Ok(link) = self.link().await else { return };
        let mut buffer = Zeroizing::new(vec![0u8; MAX_ANSWER]);
        loop {
            let read = match link.recv(&mut buffer).await {
                Ok(n @ 1..) => Answer::decode(buffer.get(..n).unwrap_or(&[])),
                _ => Err("whoever reads it is gone".to_owned()),
            };
            let Ok(answer) = read else {
                return self.waiting.borrow_mut().clear(); // who waits learns that nothing will come
            };
            // One that came too late for its own question is nobody's.
            let waits = self.waiting.borrow_mut().remove(&answer.number);
            if let Some(waits) = waits {
                let _ = waits.send(answer);
            }
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Had, String> {
        let (number, text) = self.question(ask)?;
        let (send, receive) = oneshot::channel();
        self.waiting.borrow_mut().insert(number, send);
        let answering = async {
            let sent = self.link().await?.send(&text).await;
            sent.map_err(|e| format!("cannot be had: {e}"))?;
            let answer = receive.await;
            answer
                .map_err(|_| "cannot be had: whoever reads it is gone".to_owned())?
                .had
        };
        let answer = tokio::time::timeout(PATIENCE, answering).await;
        self.waiting.borrow_mut().remove(&number);
        answer.map_err(|_| "cannot be had: it takes too long".to_owned())?
    }

    /// The value of a credential, had anew.
    pub(crate) async fn read(&self, at: usize) -> Result<Had, String> {
        self.ask(Ask::Value(at)).await
    }

    /// Takes one lease back at its provider.
    pub(crate) async fn retire(&self, lease: u64) -> Result<(), String> {
        self.ask(Ask::Retire(lease)).await.map(drop)
    }

    /// Takes everything back. Answers what became of each lease.
    pub(crate) async fn finish(&self) -> Result<Vec<Left>, String> {
        let had = self.ask(Ask::Finish).await?;
        serde_json::from_str(&had.text).map_err(|e| e.to_string())
    }
}
