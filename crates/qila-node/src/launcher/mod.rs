//! The launcher: a small process with one thread that forks what a process with many cannot.
//!
//! It decides nothing: it is told which walls to build, or which gateway to start, and hands descriptors of what it made back.
//! It goes when the node goes; what it made does not.
mod gateway;
mod process;

pub(crate) use gateway::GatewayWish;
use process::Reply;
use qila_plan::Walls;
use qila_sandbox::{Born, Restack};
use qila_sys::fork::{Fork, Namespaces, exit_now, fork};
use qila_sys::pass;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::Pid;
use std::sync::{Mutex, PoisonError};

/// What the launcher is told, after a byte that says which.
const BEAR: u8 = b'b';
const GATEWAY: u8 = b'g';
const RESTACK: u8 = b'r';
const BENEATH: u8 = b'z';
/// Largest reply in bytes.
const REPLY: usize = 4096;

/// The node's end of the launcher.
#[derive(Debug)]
pub struct Launcher {
    link: Mutex<OwnedFd>,
}

/// Why the launcher did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LauncherError {
    /// It is gone.
    #[error("the launcher is gone: {0}")]
    Gone(Errno),
    /// It said what it never says.
    #[error("the launcher spoke out of turn")]
    Confused,
    /// Something in the sandbox uses what was to be taken away.
    #[error("the sandbox uses it")]
    InUse,
    /// It could not do it.
    #[error("{0}")]
    Failed(String),
}

impl From<Errno> for LauncherError {
    fn from(errno: Errno) -> LauncherError {
        LauncherError::Gone(errno)
    }
}

impl Launcher {
    /// Forks it. To be called while there is one thread, and before anything is open that it must not hold. `guest` is the
    /// guest's program.
    pub fn start(guest: OwnedFd) -> Result<Launcher, Errno> {
        let (ours, theirs) = pass::pair()?;
        match fork(Namespaces::NONE)? {
            Fork::Child => {
                drop(ours);
                exit_now(process::run(&theirs, &guest))
            }
            Fork::Parent { .. } => Ok(Launcher {
                link: Mutex::new(ours),
            }),
        }
    }

    fn ask(&self, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(Reply, Vec<OwnedFd>), LauncherError> {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        pass::send(&*link, packet, fds)?;
        let mut buffer = [0u8; REPLY];
        let (n, fds) = pass::receive(&*link, &mut buffer)?;
        if n == 0 {
            return Err(LauncherError::Gone(Errno::PIPE));
        }
        let reply = serde_json::from_slice(buffer.get(..n).unwrap_or(&[]));
        Ok((reply.map_err(|_| LauncherError::Confused)?, fds))
    }

    /// Forks the first process of a sandbox.
    pub(crate) fn bear(
        &self,
        walls: &Walls,
        birthplace: Option<BorrowedFd<'_>>,
    ) -> Result<Born, LauncherError> {
        self.birth(BEAR, walls, birthplace.into_iter().collect())
    }

    fn birth(&self, what: u8, walls: &Walls, fds: Vec<BorrowedFd<'_>>) -> Result<Born, LauncherError> {
        let mut packet = vec![what];
        serde_json::to_writer(&mut packet, walls).map_err(|e| LauncherError::Failed(e.to_string()))?;
        let (reply, fds) = self.ask(&packet, &fds)?;
        match (reply, <[OwnedFd; 2]>::try_from(fds)) {
            (Reply::Born { pid }, Ok([control, pidfd])) => {
                let pid = Pid::from_raw(pid).ok_or(LauncherError::Confused)?;
                Ok(Born { control, pid, pidfd })
            }
            (Reply::Failed { what }, _) => Err(LauncherError::Failed(what)),
            _ => Err(LauncherError::Confused),
        }
    }

    /// The same beneath another sandbox, whose first process is `above`: for one that is to receive forks of what runs there.
    pub(crate) fn bear_beneath(
        &self,
        walls: &Walls,
        birthplace: Option<BorrowedFd<'_>>,
        above: BorrowedFd<'_>,
    ) -> Result<Born, LauncherError> {
        self.birth(BENEATH, walls, std::iter::once(above).chain(birthplace).collect())
    }

    /// Starts a gateway: the socket to it, and its process.
    pub(crate) fn gateway(&self, wish: &GatewayWish) -> Result<(OwnedFd, OwnedFd), LauncherError> {
        let text = serde_json::to_vec(wish).map_err(|e| LauncherError::Failed(e.to_string()))?;
        let file = memfd_create("qila-gateway", MemfdFlags::CLOEXEC)?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let n = rustix::io::write(&file, rest)?;
            rest = rest.get(n..).unwrap_or(&[]);
        }
        let (reply, fds) = self.ask(&[GATEWAY], &[file.as_fd()])?;
        match (reply, <[OwnedFd; 2]>::try_from(fds)) {
            (Reply::Gateway, Ok([link, pidfd])) => Ok((link, pidfd)),
            (Reply::Failed { what }, _) => Err(LauncherError::Failed(what)),
            _ => Err(LauncherError::Confused),
        }
    }

    /// Gives a sandbox another layer. Whoever does it keeps `busy` open until it is done, also when this process is killed.
    pub(crate) fn restack(
        &self,
        first: &OwnedFd,
        wish: &Restack,
        busy: &OwnedFd,
    ) -> Result<(), LauncherError> {
        let mut packet = vec![RESTACK];
        serde_json::to_writer(&mut packet, wish).map_err(|e| LauncherError::Failed(e.to_string()))?;
        match self.ask(&packet, &[first.as_fd(), busy.as_fd()])?.0 {
            Reply::Done => Ok(()),
            Reply::InUse => Err(LauncherError::InUse),
            Reply::Failed { what } => Err(LauncherError::Failed(what)),
            _ => Err(LauncherError::Confused),
        }
    }
}
