//! The only unsafe code: namespaces, mounts, cgroups, seccomp, Landlock, netlink, pidfd.
//!
//! Each function is one system call, or the few that belong together, with owned file descriptors in and out.
//! Nothing here decides anything.

pub mod caps;
pub mod exec;
pub mod fork;
pub mod landlock;
pub mod mount;
pub mod netlink;
pub mod nft;
pub mod pass;
pub mod seccomp;
pub mod signal;

/// What a call into the kernel answers.
pub type Result<T> = std::result::Result<T, rustix::io::Errno>;

/// Turns a raw system call's answer into a result.
pub(crate) fn check(answer: libc::c_long) -> Result<libc::c_long> {
    if answer < 0 {
        // SAFETY: errno is thread-local and was set by the call that just failed.
        let errno = unsafe { *libc::__errno_location() };
        Err(rustix::io::Errno::from_raw_os_error(errno))
    } else {
        Ok(answer)
    }
}
