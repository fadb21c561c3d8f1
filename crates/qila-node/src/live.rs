//! A sandbox that is there, as the node holds it.
use crate::ledger::Held;
use crate::record::{Phase, Record};
use crate::shares::Share;
use crate::warm::Warm;
use qila_api::{ApiError, Kind, Result, SandboxId, Tenant};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A sandbox that is there.
pub(crate) struct Live {
    pub id: SandboxId,
    record: RwLock<Record>,
    /// Held by whoever changes what it is: one at a time.
    pub change: tokio::sync::Mutex<()>,
    /// Its directory on the host.
    pub dir: OwnedFd,
    /// Its first process.
    pub pidfd: OwnedFd,
    /// What is taken from its tenant's quota, and its place in a tenant's cgroup.
    pub held: Mutex<Option<(Held, Arc<Share>)>>,
    /// Who looks after its network, and how it is told to stop.
    pub outside: Mutex<Option<Outside>>,
    /// Somebody takes it down.
    ending: AtomicBool,
    /// Somebody sees to it that its time is over.
    pub expiring: AtomicBool,
    /// Processes that were killed for memory, as counted when it was last looked at.
    pub oom: AtomicU64,
    /// The warm program of which it may have forks.
    pub warm: OnceLock<Arc<Warm>>,
    /// When its processor time was asked for last, and what it was, in microseconds.
    pub measured: Mutex<Option<(Instant, u64)>>,
    /// What is known of its layer's size.
    pub disk: Mutex<crate::watch::Disk>,
}

/// The task that looks after a sandbox's network.
pub(crate) struct Outside {
    pub stop: oneshot::Sender<()>,
    pub task: JoinHandle<()>,
}

impl Live {
    pub(crate) fn new(record: Record, dir: OwnedFd, pidfd: OwnedFd, held: Held, share: Share) -> Arc<Live> {
        Arc::new(Live {
            id: record.id.clone(),
            record: RwLock::new(record),
            change: tokio::sync::Mutex::new(()),
            dir,
            pidfd,
            held: Mutex::new(Some((held, Arc::new(share)))),
            outside: Mutex::new(None),
            ending: AtomicBool::new(false),
            expiring: AtomicBool::new(false),
            oom: AtomicU64::new(0),
            warm: OnceLock::new(),
            measured: Mutex::default(),
            disk: Mutex::default(),
        })
    }

    /// What is known of it.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Record) -> T) -> T {
        at(&self.record.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A copy of what is known of it.
    pub(crate) fn record(&self) -> Record {
        self.look(Clone::clone)
    }

    /// Puts what is known of it right. The caller holds `change` and has it on the disk.
    pub(crate) fn put(&self, record: Record) {
        *self.record.write().unwrap_or_else(PoisonError::into_inner) = record;
    }

    /// Whether it belongs to a tenant, who may know of it.
    pub(crate) fn belongs_to(&self, tenant: &Tenant) -> bool {
        self.look(|r| r.tenant == *tenant && !r.pooled)
    }

    /// Begins to take it down; false: somebody does already.
    pub(crate) fn begin_end(&self) -> bool {
        !self.ending.swap(true, Ordering::SeqCst)
    }

    /// Whether it is being taken down.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// An error unless it runs.
    pub(crate) fn running(&self) -> Result<()> {
        if self.is_ending() {
            return Err(gone(&self.id));
        }
        match self.look(|r| r.phase) {
            Phase::Running => Ok(()),
            Phase::Paused => Err(
                ApiError::new(Kind::Conflict, format!("sandbox {} is paused", self.id))
                    .hint("resume it first"),
            ),
        }
    }
}

/// There is no such sandbox, for whoever asks.
pub(crate) fn gone(id: &SandboxId) -> ApiError {
    ApiError::not_found(format!("there is no sandbox {id}"))
}

/// When a process was started, in ticks since the boot: with its number, that names it. None: there is no such process.
pub(crate) fn born(pid: i32) -> std::result::Result<Option<u64>, Errno> {
    let text = match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(text) => text,
        Err(e) => {
            return match Errno::from_io_error(&e) {
                Some(Errno::NOENT | Errno::SRCH) => Ok(None),
                Some(errno) => Err(errno),
                None => Err(Errno::IO),
            };
        }
    };
    // The name may hold anything, a parenthesis too: what comes after the last one is fields. The 22nd of all is the start.
    let after = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = after.split_whitespace().nth(19).and_then(|f| f.parse().ok());
    field.map(Some).ok_or(Errno::PROTO)
}
