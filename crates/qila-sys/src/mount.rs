//! The parts of the mount interface that rustix has not got.
use crate::raw::call;
use crate::{Result, check};
use rustix::fd::{AsRawFd, BorrowedFd};

/// Attributes added to a mount, and to every mount beneath it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr {
    /// Read only.
    pub read_only: bool,
    /// No programs may be started from it.
    pub no_exec: bool,
}

const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NOSUID: u64 = 0x2;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const MOUNT_ATTR_NOEXEC: u64 = 0x8;
const AT_RECURSIVE: libc::c_int = 0x8000;

#[repr(C)]
struct RawAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Adds attributes to the mount behind a descriptor and to all beneath it: always no set-uid, and no devices unless told.
pub fn restrict(mount: BorrowedFd<'_>, attr: MountAttr, devices: bool) -> Result<()> {
    let mut set = MOUNT_ATTR_NOSUID;
    if !devices {
        set |= MOUNT_ATTR_NODEV;
    }
    if attr.read_only {
        set |= MOUNT_ATTR_RDONLY;
    }
    if attr.no_exec {
        set |= MOUNT_ATTR_NOEXEC;
    }
    set_attr(
        mount,
        RawAttr {
            set,
            clear: 0,
            propagation: 0,
            userns: 0,
        },
        AT_RECURSIVE,
    )
}

/// Makes one mount read only, those beneath it staying as they are.
pub fn freeze(mount: BorrowedFd<'_>) -> Result<()> {
    set_attr(
        mount,
        RawAttr {
            set: MOUNT_ATTR_RDONLY,
            clear: 0,
            propagation: 0,
            userns: 0,
        },
        0,
    )
}

/// Cuts the mount and all beneath it off from what is mounted elsewhere.
pub fn make_private(mount: BorrowedFd<'_>) -> Result<()> {
    set_attr(
        mount,
        RawAttr {
            set: 0,
            clear: 0,
            propagation: libc::MS_PRIVATE,
            userns: 0,
        },
        AT_RECURSIVE,
    )
}

fn set_attr(mount: BorrowedFd<'_>, attr: RawAttr, flags: libc::c_int) -> Result<()> {
    // SAFETY: the struct has the kernel's layout and outlives the call; its size is passed along.
    check(unsafe {
        call!(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | flags,
            &raw const attr,
            size_of::<RawAttr>(),
        )
    })
    .map(drop)
}
