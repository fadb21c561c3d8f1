//! Signals as descriptors.
use crate::{Result, check};
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// A set of signals that are blocked and read from a descriptor instead.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: an all-zero set is valid memory; sigemptyset and sigaddset write to it only.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

impl SignalFd {
    /// Blocks the signals for this thread and opens a descriptor for them.
    pub fn new(signals: &[i32]) -> Result<SignalFd> {
        let set = set_of(signals);
        // SAFETY: the set is initialised and outlives both calls.
        let fd = unsafe {
            check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()).into())?;
            check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?
        };
        let fd = i32::try_from(fd).map_err(|_| rustix::io::Errno::BADF)?;
        // SAFETY: a new descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(SignalFd { fd })
    }

    /// The next pending signal's number, if one is pending.
    pub fn next(&self) -> Option<i32> {
        // SAFETY: plain data; the kernel writes at most its size.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        // SAFETY: the buffer is the struct itself, with its size.
        let n = unsafe {
            libc::read(
                self.fd.as_raw_fd(),
                (&raw mut info).cast(),
                size_of::<libc::signalfd_siginfo>(),
            )
        };
        (n == size_of::<libc::signalfd_siginfo>() as isize).then_some(())?;
        i32::try_from(info.ssi_signo).ok()
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Unblocks every signal and gives each its default action: what a program expects to be started with.
pub fn reset_all() -> Result<()> {
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP || signal == 32 || signal == 33 {
            continue;
        }
        // SAFETY: SIG_DFL runs no code of ours; unknown numbers are refused by the kernel and may be.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let none = set_of(&[]);
    // SAFETY: the set is initialised and outlives the call.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) }.into())
        .map(drop)
}

/// Ignores a signal in this process.
pub fn ignore(signal: i32) {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Processor time of all reaped children in milliseconds, and the largest resident set of any in bytes.
pub fn children_usage() -> (u64, u64) {
    // SAFETY: plain data, filled in by the call.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the struct outlives the call.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return (0, 0);
    }
    let ms = |t: libc::timeval| u64::try_from(t.tv_sec * 1000 + t.tv_usec / 1000).unwrap_or(0);
    let cpu = ms(usage.ru_utime).saturating_add(ms(usage.ru_stime));
    (
        cpu,
        u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024),
    )
}

/// Kills every other process of the caller's process namespace. Refused unless the caller is its PID 1.
pub fn kill_everyone_else() -> Result<()> {
    if std::process::id() != 1 {
        return Err(rustix::io::Errno::PERM);
    }
    // SAFETY: takes integers only; as PID 1 of a namespace, -1 reaches what is inside it and nothing else.
    match check(unsafe { libc::kill(-1, libc::SIGKILL) }.into()) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.map(drop),
    }
}
