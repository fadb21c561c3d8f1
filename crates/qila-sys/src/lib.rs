//! The only unsafe code: namespaces, mounts, cgroups, seccomp, Landlock, netlink, pidfd.
//!
//! Each function is one system call, or the few that belong together, with owned file descriptors in and out.
//! Nothing here decides anything.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(all(not(feature = "std"), target_arch = "x86_64"))]
mod bare;
pub mod caps;
pub mod entry;
pub mod exec;
pub mod fork;
pub mod landlock;
pub mod mount;
pub mod netlink;
pub mod nft;
pub mod pass;
mod raw;
pub mod seccomp;
pub mod signal;

/// What a call into the kernel answers.
pub type Result<T> = core::result::Result<T, rustix::io::Errno>;

/// Turns a system call's answer into a result.
pub(crate) fn check(answer: libc::c_long) -> Result<libc::c_long> {
    if answer < 0 {
        let errno = i32::try_from(-answer).unwrap_or(libc::EIO);
        Err(rustix::io::Errno::from_raw_os_error(errno))
    } else {
        Ok(answer)
    }
}
