//! Signals as descriptors.
use crate::raw::call;
use crate::{Result, check};
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// A set of signals that are blocked and read from a descriptor instead.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

/// As the kernel numbers them: the first signal is the lowest bit.
fn set_of(signals: &[i32]) -> u64 {
    let bit = |signal: &i32| {
        u32::try_from(*signal - 1)
            .ok()
            .and_then(|n| 1u64.checked_shl(n))
            .unwrap_or(0)
    };
    signals.iter().map(bit).fold(0, |all, one| all | one)
}

/// Replaces the mask of this thread, or adds to it.
fn mask(how: i32, set: u64) -> Result<()> {
    // SAFETY: the set outlives the call, which reads eight bytes of it.
    check(unsafe {
        call!(
            libc::SYS_rt_sigprocmask,
            how,
            &raw const set,
            core::ptr::null_mut::<u64>(),
            size_of::<u64>()
        )
    })
    .map(drop)
}

/// `struct sigaction` of the kernel, with nothing but the handler.
#[repr(C)]
struct Disposition {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// Gives a signal the default action or ignores it.
fn dispose(signal: i32, handler: libc::sighandler_t) {
    let new = Disposition {
        handler,
        flags: 0,
        restorer: 0,
        mask: 0,
    };
    // SAFETY: neither the default action nor ignoring runs code of ours; unknown numbers are refused and may be.
    unsafe {
        call!(
            libc::SYS_rt_sigaction,
            signal,
            &raw const new,
            core::ptr::null_mut::<u8>(),
            size_of::<u64>()
        )
    };
}

impl SignalFd {
    /// Blocks the signals for this thread and opens a descriptor for them.
    pub fn new(signals: &[i32]) -> Result<SignalFd> {
        let set = set_of(signals);
        mask(libc::SIG_BLOCK, set)?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set outlives the call, which reads eight bytes of it.
        let fd = check(unsafe { call!(libc::SYS_signalfd4, -1, &raw const set, size_of::<u64>(), flags) })?;
        let fd = i32::try_from(fd).map_err(|_| rustix::io::Errno::BADF)?;
        // SAFETY: a new descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(SignalFd { fd })
    }

    /// The next pending signal's number, if one is pending.
    pub fn next(&self) -> Option<i32> {
        // SAFETY: plain data.
        let mut info: libc::signalfd_siginfo = unsafe { core::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is the struct itself, with its size.
        let n = check(unsafe { call!(libc::SYS_read, self.fd.as_raw_fd(), &raw mut info, size) }).ok()?;
        (usize::try_from(n) == Ok(size)).then_some(())?;
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
        dispose(signal, libc::SIG_DFL);
    }
    mask(libc::SIG_SETMASK, 0)
}

/// Ignores a signal in this process.
pub fn ignore(signal: i32) {
    dispose(signal, libc::SIG_IGN);
}

/// Processor time of all reaped children in milliseconds, and the largest resident set of any in bytes.
pub fn children_usage() -> (u64, u64) {
    // SAFETY: plain data, filled in by the call.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the struct outlives the call.
    if unsafe { call!(libc::SYS_getrusage, libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
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
    signal_everyone_else(libc::SIGKILL)
}

/// Sends a signal to every other process of the caller's process namespace. Refused unless the caller is its PID 1.
pub fn signal_everyone_else(signal: i32) -> Result<()> {
    if !rustix::process::getpid().is_init() {
        return Err(rustix::io::Errno::PERM);
    }
    // SAFETY: takes integers only; as PID 1 of a namespace, -1 reaches what is inside it and nothing else.
    match check(unsafe { call!(libc::SYS_kill, -1, signal) }) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.map(drop),
    }
}
