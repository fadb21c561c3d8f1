//! Giving a running sandbox another layer: what it has written so far becomes something that it lies on, and can be shared.
//!
//! What has a mount open could still write beneath it. The old mount is therefore taken away first, which the kernel refuses
//! while anything in the sandbox has a file, a directory or its working directory in it.
use crate::view::overlay;
use qila_sys::fork::{Namespaces, unshare};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use serde::{Deserialize, Serialize};

/// The layer that a sandbox is to have from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restack {
    /// Where it is, inside.
    pub target: String,
    /// What it lies on, on the host, the uppermost first.
    pub lower: Vec<String>,
    /// Where changes go, on the host.
    pub upper: String,
    /// Scratch directory of overlayfs on the host.
    pub work: String,
}

/// Takes the layer of a sandbox away and puts another in its place. To be called by a process of its own, with one thread: it
/// enters the sandbox's namespaces and never comes back out of them. `first` is the sandbox's first process.
///
/// [`Errno::BUSY`]: something in the sandbox uses the layer, and nothing was changed.
pub fn restack(first: BorrowedFd<'_>, wish: &Restack) -> Result<(), (&'static str, Errno)> {
    let step = |what: &'static str| move |e: Errno| (what, e);
    let enter = |what| move_into_thread_name_spaces(first, what);
    enter(ThreadNameSpaceType::USER).map_err(step("entering the sandbox's user namespace"))?;
    // To mount, one has to be in a mount namespace of that user namespace; the host's paths are wanted still.
    unshare(Namespaces::MOUNT).map_err(step("making a mount namespace"))?;
    let tree = overlay(&wish.lower, &wish.upper, &wish.work).map_err(step("mounting the new layer"))?;
    enter(ThreadNameSpaceType::MOUNT).map_err(step("entering the sandbox's mount namespace"))?;
    // Nothing inside can rename or replace the directory: what is above it is read only.
    let flags = UnmountFlags::NOFOLLOW;
    unmount(wish.target.as_str(), flags).map_err(step("taking the old layer away"))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(tree.as_fd(), "", rustix::fs::CWD, wish.target.as_str(), flags)
        .map_err(step("placing the new layer"))
}
