//! `/dev`: a few devices of the host, terminals of its own.
use super::mounts::{attach, attach_at, clone_tree, directory};
use super::place::{make_dirs, write_file};
use super::{Failed, named};
use qila_sys::mount::{MountAttr, restrict};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

pub(super) fn build(root: BorrowedFd<'_>, devices: &[std::borrow::Cow<'static, str>]) -> Result<(), Failed> {
    named(|| "making /dev".into(), make_dirs(root, "dev/pts"))?;
    let dev = named(|| "opening /dev".into(), directory(root, "dev"))?;
    for name in devices {
        let bind = || {
            let tree = clone_tree(CWD, &format!("/dev/{name}"))?;
            restrict(
                tree.as_fd(),
                MountAttr {
                    read_only: false,
                    no_exec: true,
                },
                true,
            )?;
            attach(tree, write_file(&dev, name, b"", 0o666)?)
        };
        named(|| format!("providing /dev/{name}"), bind())?;
    }
    for (name, to) in LINKS {
        named(|| format!("linking /dev/{name}"), symlinkat(to, &dev, name))?;
    }
    named(
        || "mounting terminals".into(),
        terminals().and_then(|pts| attach_at(pts, &dev, "pts")),
    )
}

fn terminals() -> Result<OwnedFd, Errno> {
    let fs = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_flag(fs.as_fd(), "newinstance")?;
    fsconfig_set_string(fs.as_fd(), "ptmxmode", "0666")?;
    fsconfig_set_string(fs.as_fd(), "mode", "0620")?;
    fsconfig_create(fs.as_fd())?;
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
}
