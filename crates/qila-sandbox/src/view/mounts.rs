//! Mounts before they are placed, and placing them.
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// A copy of the mounts at and beneath a path, not yet placed anywhere.
pub(super) fn clone_tree(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(at, path, flags)
}

/// A copy of all mounts at and beneath the root of a tree.
pub(super) fn clone_root(root: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(root, "", flags)
}

/// A memory-backed file system.
pub(super) fn tmpfs(size: &str, files: u64, bits: &str) -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(fs.as_fd(), "size", size)?;
    fsconfig_set_string(fs.as_fd(), "nr_inodes", files.to_string())?;
    fsconfig_set_string(fs.as_fd(), "mode", bits)?;
    fsconfig_create(fs.as_fd())?;
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
}

/// Places a mount over what is open.
pub(super) fn attach(tree: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree.as_fd(), "", place.as_fd(), "", flags)
}

/// Places a mount over a name of a directory that nobody else has: the name is not followed if it is a link.
pub(super) fn attach_at(tree: impl AsFd, dir: impl AsFd, name: &str) -> Result<(), Errno> {
    move_mount(
        tree.as_fd(),
        "",
        dir.as_fd(),
        name,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// Opens a place beneath the new root; links on the way lead to where they will lead once it is the real one. The last part
/// is not followed.
pub(super) fn inside(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(
        root,
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        how,
    )
}

/// Opens a directory; the last part is not followed.
pub(super) fn directory(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    openat(
        at,
        path,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
}
