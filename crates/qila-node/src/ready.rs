//! Waiting for descriptors.
use rustix::fd::{AsFd, OwnedFd};
use std::io::Result;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor of its own, registered with the runtime.
#[allow(
    deprecated,
    reason = "the constructor is unsound only for types that may close their descriptor early; an owned one cannot"
)]
pub(crate) fn of(fd: OwnedFd, interest: Interest) -> Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

/// A copy of a descriptor, to wait until it can be read.
pub(crate) fn readable(fd: impl AsFd) -> Result<AsyncFd<OwnedFd>> {
    of(rustix::io::fcntl_dupfd_cloexec(fd, 3)?, Interest::READABLE)
}
