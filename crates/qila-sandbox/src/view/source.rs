//! What comes from the host: opened before the new root is in place, restricted before it is anywhere.
use super::mounts::{clone_tree, directory};
use super::{Failed, named};
use qila_plan::{PathKind, View, ViewEntry};
use qila_sys::mount::{MountAttr, restrict};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, fstat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

/// A mount that is not placed yet, and the number of the entry that it is for.
pub(crate) type Source = (usize, OwnedFd);

/// Opens the sources of every entry that has one.
pub(super) fn open_all(view: &View) -> Result<Vec<Source>, Failed> {
    let mut sources = Vec::with_capacity(view.entries.len());
    for (i, entry) in view.entries.iter().enumerate() {
        match entry {
            ViewEntry::Host {
                source,
                writable,
                sealed,
                kind,
                ..
            } => {
                let empty = view
                    .empty
                    .as_deref()
                    .filter(|_| *sealed && *kind == PathKind::Directory);
                sources.push((i, host(source, *writable, empty)?));
            }
            ViewEntry::Layer {
                target,
                lower,
                upper,
                work,
            } => {
                let layer = overlay(lower, upper, work);
                sources.push((
                    i,
                    named(|| format!("mounting the copy-on-write layer of {target}"), layer)?,
                ));
            }
            _ => {}
        }
    }
    Ok(sources)
}

/// A path of the host; with `empty`, an empty directory, without its sockets.
fn host(source: &str, writable: bool, empty: Option<&str>) -> Result<OwnedFd, Failed> {
    let tree = match empty {
        Some(empty) => named(
            || format!("opening {source} without its sockets"),
            sealed_tree(source, empty),
        )?,
        None => named(|| format!("opening {source}"), clone_tree(CWD, source))?,
    };
    // Connecting to a socket needs no writable mount, only a way to it.
    let is_socket = || fstat(&tree).map(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_socket());
    if named(|| format!("looking at {source}"), is_socket())? {
        return Err((
            format!("giving {source}, which is a unix socket of the host"),
            Errno::OPNOTSUPP,
        ));
    }
    let attr = MountAttr {
        read_only: !writable,
        no_exec: false,
    };
    named(
        || format!("restricting {source}"),
        restrict(tree.as_fd(), attr, false),
    )?;
    Ok(tree)
}

/// A directory of the host through an overlayfs with nothing to write to: a socket seen through it is another inode than the
/// one that a program of the host listens on, so that no connection reaches it. What is mounted beneath is not shown.
fn sealed_tree(source: &str, empty: &str) -> Result<OwnedFd, Errno> {
    let (lower, empty) = (directory(CWD, source)?, directory(CWD, empty)?);
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(fs.as_fd(), "source", "qila")?;
    // Two lower directories are the least that overlayfs takes without an upper one.
    fsconfig_set_string(
        fs.as_fd(),
        "lowerdir",
        format!("{}:{}", by_fd(&lower), by_fd(&empty)),
    )?;
    fsconfig_set_flag(fs.as_fd(), "userxattr")?;
    fsconfig_create(fs.as_fd())?;
    let attr = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
}

/// The layers of the base, the uppermost first, laid over each other read only; none if there are none.
pub(super) fn base(lower: &[String]) -> Result<Option<OwnedFd>, Failed> {
    if lower.is_empty() {
        return Ok(None);
    }
    named(|| "mounting the base's layers".into(), piled(lower)).map(Some)
}

fn piled(lower: &[String]) -> Result<OwnedFd, Errno> {
    let layers = lower.iter().map(|p| directory(CWD, p));
    let layers = layers.collect::<Result<Vec<_>, _>>()?;
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(fs.as_fd(), "source", "qila")?;
    lay(fs.as_fd(), &layers.iter().map(by_fd).collect::<Vec<_>>())?;
    fsconfig_set_flag(fs.as_fd(), "userxattr")?;
    fsconfig_create(fs.as_fd())?;
    let attr = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
}

/// One by one, since Linux 6.5; all in one string before, which holds 255 bytes: some fifteen layers.
fn lay(fs: BorrowedFd<'_>, layers: &[String]) -> Result<(), Errno> {
    for (i, layer) in layers.iter().enumerate() {
        match fsconfig_set_string(fs, "lowerdir+", layer.as_str()) {
            Err(Errno::INVAL) if i == 0 => return fsconfig_set_string(fs, "lowerdir", layers.join(":")),
            other => other?,
        }
    }
    Ok(())
}

fn by_fd(fd: &OwnedFd) -> String {
    use rustix::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Lower, upper and work directory are given as descriptors: no separator in a name can be misread, and nothing can be
/// swapped between the look and the mount.
pub(crate) fn overlay(lower: &[String], upper: &str, work: &str) -> Result<OwnedFd, Errno> {
    let [upper, work] = [upper, work].map(|p| directory(CWD, p));
    let (upper, work) = (upper?, work?);
    let lower = lower
        .iter()
        .map(|p| directory(CWD, p))
        .collect::<Result<Vec<_>, _>>()?;
    let below: Vec<String> = lower.iter().map(by_fd).collect();
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(fs.as_fd(), "source", "qila")?;
    lay(fs.as_fd(), &below)?;
    fsconfig_set_string(fs.as_fd(), "upperdir", by_fd(&upper))?;
    fsconfig_set_string(fs.as_fd(), "workdir", by_fd(&work))?;
    fsconfig_set_string(fs.as_fd(), "index", "off")?;
    fsconfig_set_string(fs.as_fd(), "xino", "off")?;
    // No identity of its own is left on the upper directory.
    fsconfig_set_string(fs.as_fd(), "uuid", "off")?;
    // Not written out when it is unmounted: a layer that is kept is written out by the launcher, before it says so.
    fsconfig_set_flag(fs.as_fd(), "volatile")?;
    fsconfig_set_flag(fs.as_fd(), "userxattr")?;
    fsconfig_create(fs.as_fd())?;
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tree = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)?;
    fstat(&tree).map(|_| tree)
}
