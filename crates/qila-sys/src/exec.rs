//! Becoming another program.
use crate::Result;
use crate::raw::call;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;

/// Past the last descriptor that there can be; larger numbers some kernels take for negative ones.
const LAST: u32 = i32::MAX.unsigned_abs();

fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter()
        .map(|s| s.as_ptr())
        .chain(core::iter::once(core::ptr::null()))
        .collect()
}

fn failure(answer: libc::c_long) -> Errno {
    crate::check(answer).err().unwrap_or(Errno::IO)
}

/// Becomes the program behind a descriptor. Returns only on failure.
pub fn exec_fd(program: BorrowedFd<'_>, argv: &[CString], env: &[CString]) -> Errno {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end in null and point at strings that live until the call returns.
    failure(unsafe {
        call!(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    })
}

/// Becomes the program at a path. Returns only on failure.
pub fn exec_path(program: &CStr, argv: &[CString], env: &[CString]) -> Errno {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end in null and point at strings that live until the call returns.
    failure(unsafe { call!(libc::SYS_execve, program.as_ptr(), argv.as_ptr(), env.as_ptr()) })
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: only descriptors are closed; callers use this right before exec or in a child that owns none of them.
    crate::check(unsafe { call!(libc::SYS_close_range, first, LAST, 0) }).map(drop)
}

/// Marks every descriptor from `first` on close-on-exec.
pub fn cloexec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: only flags of descriptors change.
    let all = crate::check(unsafe { call!(libc::SYS_close_range, first, LAST, CLOSE_RANGE_CLOEXEC) });
    match all {
        // Kernels before 5.9, and those that agents are given by an engine.
        Err(Errno::NOSYS) => one_by_one(first),
        other => other.map(drop),
    }
}

fn one_by_one(first: u32) -> Result<()> {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let most = most
        .and_then(|m| u32::try_from(m).ok())
        .unwrap_or(1 << 20)
        .min(1 << 20);
    for number in first..most {
        // SAFETY: only a flag of a descriptor changes.
        match crate::check(unsafe { call!(libc::SYS_fcntl, number, libc::F_SETFD, libc::FD_CLOEXEC) }) {
            Ok(_) | Err(Errno::BADF) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Whether nothing is behind a number.
pub fn is_closed(number: u32) -> bool {
    // SAFETY: fcntl only looks whether the descriptor is open.
    let looked = crate::check(unsafe { call!(libc::SYS_fcntl, number, libc::F_GETFD) });
    looked == Err(Errno::BADF)
}

/// Takes over a descriptor that this program was started with. Each may be taken once.
pub fn adopt(number: u32) -> Result<rustix::fd::OwnedFd> {
    use rustix::fd::FromRawFd;
    let raw = i32::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: fcntl only looks whether the descriptor is open.
    crate::check(unsafe { call!(libc::SYS_fcntl, raw, libc::F_GETFD) })?;
    // SAFETY: it is open, was put there by whoever started this program, and nothing in it owns it yet.
    Ok(unsafe { rustix::fd::OwnedFd::from_raw_fd(raw) })
}

/// Puts a copy of a descriptor on a given number, open across exec. Whatever was there is closed: only for a process that
/// is about to become another program. Fails if it is there already.
pub fn place(fd: BorrowedFd<'_>, number: i32) -> Result<()> {
    // SAFETY: the caller gives up whatever else is behind the number, as documented.
    crate::check(unsafe { call!(libc::SYS_dup3, fd.as_raw_fd(), number, 0) }).map(drop)
}

/// Closes every descriptor from 3 on but one. For a child that goes on without exec and must not hold its parent's.
pub fn close_all_but(keep: BorrowedFd<'_>) -> Result<()> {
    let keep = u32::try_from(keep.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let close = |from: u32, to: u32| {
        if from > to {
            return Ok(());
        }
        // SAFETY: takes integers only; whoever owns a descriptor in the range is the parent's copy and never used here.
        crate::check(unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) }).map(drop)
    };
    if keep < 3 {
        return close(3, u32::MAX);
    }
    close(3, keep - 1)?;
    close(keep + 1, u32::MAX)
}
