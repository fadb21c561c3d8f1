//! New processes, in new namespaces, known by pidfd.
use crate::raw::call;
use crate::{Result, check};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::process::Pid;

/// Which namespaces a child starts in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None: a plain fork.
    pub const NONE: Namespaces = Namespaces(0);
    /// User namespace: the child has every capability over what it creates and none over the host.
    pub const USER: Namespaces = Namespaces(libc::CLONE_NEWUSER as u64);
    /// Mounts.
    pub const MOUNT: Namespaces = Namespaces(libc::CLONE_NEWNS as u64);
    /// Process ids: the child is PID 1.
    pub const PID: Namespaces = Namespaces(libc::CLONE_NEWPID as u64);
    /// Network devices, routes, sockets' addresses.
    pub const NET: Namespaces = Namespaces(libc::CLONE_NEWNET as u64);
    /// System V IPC and POSIX message queues.
    pub const IPC: Namespaces = Namespaces(libc::CLONE_NEWIPC as u64);
    /// Host name.
    pub const UTS: Namespaces = Namespaces(libc::CLONE_NEWUTS as u64);
    /// Root of the cgroup tree as seen from inside.
    pub const CGROUP: Namespaces = Namespaces(libc::CLONE_NEWCGROUP as u64);

    /// Both.
    pub const fn with(self, other: Namespaces) -> Namespaces {
        Namespaces(self.0 | other.0)
    }
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The parent, with the child's pid in the parent's namespace and a descriptor that names exactly that process.
    Parent {
        /// Process id.
        pid: Pid,
        /// Process file descriptor, close-on-exec.
        pidfd: OwnedFd,
    },
    /// The child.
    Child,
}

/// Forks into new namespaces. The caller must be single-threaded: the child goes on with ordinary Rust code.
///
/// Fails with `EDEADLK` if the process has more than one thread.
pub fn fork(namespaces: Namespaces) -> Result<Fork> {
    fork_into(namespaces, None)
}

/// Forks, in the way that every kernel knows; none in the child. Otherwise as [`fork`].
pub fn plain() -> Result<Option<Pid>> {
    if !single_threaded() {
        return Err(rustix::io::Errno::DEADLK);
    }
    // SAFETY: behaves as fork(2): no shared memory, no new stack; the process is single-threaded, so that no lock is held by a
    // thread that the child lacks. Flags that are zero make the order of the other arguments, which differs, of no importance.
    let answer = unsafe { call!(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    let raw = check(answer)?;
    if raw == 0 {
        return Ok(None);
    }
    let pid = i32::try_from(raw).ok().and_then(Pid::from_raw);
    pid.map(Some).ok_or(rustix::io::Errno::SRCH)
}

/// Forks into new namespaces and, where one is given, into a cgroup of the unified hierarchy. Otherwise as [`fork`].
pub fn fork_into(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork> {
    clone(namespaces, cgroup, Parent::Caller)
}

/// As [`fork_into`], for a child of the caller's own parent, which is told of its end and with which it may die. The id that is
/// answered is the one that the caller's process namespace knows it by.
pub fn fork_sibling(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork> {
    clone(namespaces, cgroup, Parent::CallersParent)
}

/// Whose child a new process is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    Caller,
    CallersParent,
}

fn clone(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>, parent: Parent) -> Result<Fork> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    if !single_threaded() {
        return Err(rustix::io::Errno::DEADLK);
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: an all-zero clone_args is valid: no stack means that the child goes on with a copy of this one.
    let mut args: libc::clone_args = unsafe { core::mem::zeroed() };
    args.flags = namespaces.0 | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    match parent {
        Parent::Caller => args.exit_signal = libc::SIGCHLD as u64,
        // The signal that tells of its end is then the caller's own; the kernel refuses another.
        Parent::CallersParent => args.flags |= libc::CLONE_PARENT as u64,
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| rustix::io::Errno::BADF)?;
    }
    // SAFETY: behaves as fork(2): no shared memory, no new stack; the process is single-threaded, so that no lock
    // is held by a thread that the child lacks.
    let answer = unsafe { call!(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    let raw = check(answer)?;
    if raw == 0 {
        return Ok(Fork::Child);
    }
    let pid = i32::try_from(raw)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(rustix::io::Errno::SRCH)?;
    // SAFETY: the kernel stored a new descriptor there, which nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Fork::Parent { pid, pidfd })
}

/// Without `std` there is nothing that could start a thread.
#[cfg(not(feature = "std"))]
fn single_threaded() -> bool {
    true
}

#[cfg(feature = "std")]
fn single_threaded() -> bool {
    // The link count of the task directory is the number of threads plus two, without listing it.
    rustix::fs::stat("/proc/self/task")
        .map(|s| s.st_nlink <= 3)
        .unwrap_or(false)
}

/// Moves the calling process into new namespaces. For a new PID namespace it is the next child that is in it.
pub fn unshare(namespaces: Namespaces) -> Result<()> {
    // SAFETY: takes an integer; files and memory stay shared as they were since only CLONE_NEW* flags can be in it.
    check(unsafe { call!(libc::SYS_unshare, namespaces.0 as libc::c_long) }).map(drop)
}

/// Ends the process at once: no destructors, no exit handlers. For children that must not run their parent's.
pub fn exit_now(code: i32) -> ! {
    loop {
        // SAFETY: ends the process and touches no memory.
        unsafe { call!(libc::SYS_exit_group, code) };
    }
}
