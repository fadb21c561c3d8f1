//! Building the agent's file system inside a mount namespace of its own.
use qila_plan::{Injected, PathKind, View, ViewEntry};
use qila_sys::mount::{MountAttr, freeze, restrict};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use std::path::Path;

/// A step's name and what the kernel said.
pub(crate) type Failed = (String, Errno);

/// Where Qila keeps its own empty file, empty directory and injected files while it builds; covered before the agent runs.
const OWN: &str = ".qila";

const RESOLV_CONF: &[u8] = b"nameserver 127.0.0.1\noptions timeout:5 attempts:2\n";
const HOSTS: &[u8] = b"127.0.0.1 localhost\n::1 localhost ip6-localhost\n";

fn named<T>(step: impl Into<String>, result: Result<T, Errno>) -> Result<T, Failed> {
    result.map_err(|e| (step.into(), e))
}

/// A view under construction.
pub(crate) struct Builder<'a> {
    view: &'a View,
    root: OwnedFd,
}

impl<'a> Builder<'a> {
    /// Opens everything that comes from the host, then puts the empty root in place.
    pub(crate) fn new(view: &'a View) -> Result<(Builder<'a>, Vec<(usize, OwnedFd)>), Failed> {
        let mut sources = Vec::new();
        for (i, entry) in view.entries.iter().enumerate() {
            if let ViewEntry::Host {
                source,
                writable,
                sealed,
                kind,
                ..
            } = entry
            {
                let tree = if *sealed && *kind == PathKind::Directory {
                    named(
                        format!("opening {source} without its sockets"),
                        sealed_tree(source, &view.root),
                    )?
                } else {
                    named(format!("opening {source}"), clone_tree(CWD, source))?
                };
                // Connecting to a socket needs no writable mount, only a way to it.
                let is_socket =
                    || fstat(&tree).map(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_socket());
                if named(format!("looking at {source}"), is_socket())? {
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
                    format!("restricting {source}"),
                    restrict(tree.as_fd(), attr, false),
                )?;
                sources.push((i, tree));
            }
            if let ViewEntry::Layer { target, upper, work } = entry {
                let layer = named(
                    format!("mounting the copy-on-write layer of {target}"),
                    overlay(target, upper, work),
                )?;
                sources.push((i, layer));
            }
        }
        let root = named("mounting the new root", tmpfs("4m", 16_384, "0755"))?;
        let place = named("opening the place of the new root", directory(CWD, &view.root))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        named(
            "placing the new root",
            move_mount(root.as_fd(), "", place.as_fd(), "", flags),
        )?;
        let root = named("opening the new root", directory(CWD, &view.root))?;
        Ok((Builder { view, root }, sources))
    }

    /// Adds every entry in order. `ca` is the sandbox's CA certificate, where there is one.
    pub(crate) fn build(&self, sources: Vec<(usize, OwnedFd)>, ca: &[u8]) -> Result<(), Failed> {
        named("making private directory", mkdirat(&self.root, OWN, mode(0o755)))?;
        named(
            "making empty directory",
            mkdirat(&self.root, ".qila/empty", mode(0o555)),
        )?;
        named(
            "making empty file",
            write_file(self.root.as_fd(), ".qila/none", b"", 0o444),
        )?;
        self.scratch()?;
        let mut sources = sources.into_iter().peekable();
        for (i, entry) in self.view.entries.iter().enumerate() {
            let source = sources.next_if(|(at, _)| *at == i).map(|(_, fd)| fd);
            self.add(entry, source, ca)?;
        }
        Ok(())
    }

    /// One memory-backed file system behind every scratch directory, so that one size bounds them together.
    fn scratch(&self) -> Result<(), Failed> {
        let size = self
            .view
            .scratch
            .map_or_else(|| "1g".to_owned(), |b| b.0.max(65_536).to_string());
        let tree = named(
            "mounting scratch space",
            tmpfs(&size, self.view.scratch_files, "0755"),
        )?;
        named(
            "making scratch directory",
            mkdirat(&self.root, ".qila/scratch", mode(0o755)),
        )?;
        named(
            "placing scratch space",
            attach(tree.as_fd(), self.root.as_fd(), ".qila/scratch"),
        )
    }

    fn add(&self, entry: &ViewEntry, source: Option<OwnedFd>, ca: &[u8]) -> Result<(), Failed> {
        let label = |what: &str| format!("{what} {}", entry.target());
        match entry {
            ViewEntry::Host { target, kind, .. } => {
                let Some(tree) = source else {
                    return Err((label("opening"), Errno::NOENT));
                };
                named(label("making"), self.place(target, *kind))?;
                named(
                    label("mounting"),
                    attach(tree.as_fd(), self.root.as_fd(), relative(target)),
                )
            }
            ViewEntry::Layer { target, .. } => {
                let Some(tree) = source else {
                    return Err((label("opening"), Errno::NOENT));
                };
                named(label("making"), self.place(target, PathKind::Directory))?;
                named(
                    label("mounting"),
                    attach(tree.as_fd(), self.root.as_fd(), relative(target)),
                )
            }
            ViewEntry::Link { target, to } => named(label("linking"), self.link(target, to)),
            ViewEntry::Scratch { target, mode: bits } => {
                named(label("mounting"), self.scratch_at(target, *bits))
            }
            ViewEntry::Hidden { target, kind } => named(label("hiding"), self.cover(target, *kind)),
            ViewEntry::Injected { target, content } => {
                named(label("providing"), self.inject(target, *content, ca))
            }
            ViewEntry::Proc { masked } => self.proc(masked),
            ViewEntry::Dev { devices } => self.dev(devices),
        }
    }

    /// Makes sure that something is there to mount over.
    fn place(&self, target: &str, kind: PathKind) -> Result<(), Errno> {
        let path = relative(target);
        match kind {
            PathKind::Directory => self.make_dirs(path),
            PathKind::File => {
                self.make_dirs(parent(path))?;
                match write_file(self.root.as_fd(), path, b"", 0o644) {
                    Err(Errno::EXIST) => Ok(()),
                    // A read-only parent that already has it.
                    Err(Errno::ROFS) if exists(self.root.as_fd(), path) => Ok(()),
                    other => other,
                }
            }
        }
    }

    fn make_dirs(&self, path: &str) -> Result<(), Errno> {
        let mut so_far = String::with_capacity(path.len());
        for part in path.split('/').filter(|p| !p.is_empty()) {
            if !so_far.is_empty() {
                so_far.push('/');
            }
            so_far.push_str(part);
            match mkdirat(&self.root, so_far.as_str(), mode(0o755)) {
                Ok(()) => {}
                // A link on the way would lead out of the new root while the host's tree is still the real one.
                Err(Errno::EXIST | Errno::ROFS) => drop(directory(self.root.as_fd(), &so_far)?),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn link(&self, target: &str, to: &str) -> Result<(), Errno> {
        self.make_dirs(parent(relative(target)))?;
        match symlinkat(to, &self.root, relative(target)) {
            // A readable parent shows it already.
            Err(Errno::EXIST | Errno::ROFS) if exists(self.root.as_fd(), relative(target)) => Ok(()),
            other => other,
        }
    }

    fn scratch_at(&self, target: &str, bits: u32) -> Result<(), Errno> {
        let name = format!(".qila/scratch/{}", relative(target).replace('/', "-"));
        mkdirat(&self.root, name.as_str(), mode(bits))?;
        rustix::fs::chmodat(&self.root, name.as_str(), mode(bits), AtFlags::empty())?;
        let tree = clone_tree(self.root.as_fd(), &name)?;
        self.place(target, PathKind::Directory)?;
        attach(tree.as_fd(), self.root.as_fd(), relative(target))
    }

    fn cover(&self, target: &str, kind: PathKind) -> Result<(), Errno> {
        let path = relative(target);
        if !exists(self.root.as_fd(), path) {
            return Ok(()); // nothing there to hide
        }
        let what = if kind == PathKind::Directory {
            ".qila/empty"
        } else {
            ".qila/none"
        };
        let tree = clone_tree(self.root.as_fd(), what)?;
        restrict(
            tree.as_fd(),
            MountAttr {
                read_only: true,
                no_exec: true,
            },
            false,
        )?;
        attach(tree.as_fd(), self.root.as_fd(), path)
    }

    fn inject(&self, target: &str, content: Injected, ca: &[u8]) -> Result<(), Errno> {
        let bytes = match content {
            Injected::CaCertificate => ca.to_vec(),
            Injected::CaBundle => host_bundle(ca),
            Injected::ResolvConf => RESOLV_CONF.to_vec(),
            Injected::Hosts => HOSTS.to_vec(),
        };
        let path = relative(target);
        if !exists(self.root.as_fd(), path) {
            self.make_dirs(parent(path))?;
            return write_file(self.root.as_fd(), path, &bytes, 0o444);
        }
        let name = format!(".qila/{}", path.replace('/', "-"));
        write_file(self.root.as_fd(), &name, &bytes, 0o444)?;
        let tree = clone_tree(self.root.as_fd(), &name)?;
        restrict(
            tree.as_fd(),
            MountAttr {
                read_only: true,
                no_exec: true,
            },
            false,
        )?;
        attach(tree.as_fd(), self.root.as_fd(), path)
    }

    fn proc(&self, masked: &[&'static str]) -> Result<(), Failed> {
        let mount = || {
            let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_create(fs.as_fd())?;
            let attr = MountAttrFlags::MOUNT_ATTR_RDONLY
                | MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
        };
        named("making /proc", self.make_dirs("proc"))?;
        let proc = named(
            "mounting procfs (is the host's own /proc partly covered?)",
            mount(),
        )?;
        named("placing /proc", attach(proc.as_fd(), self.root.as_fd(), "proc"))?;
        for name in masked {
            let path = format!("proc/{name}");
            let kind = match rustix::fs::statat(&self.root, path.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                Err(e) => return Err((format!("looking at /{path}"), e)),
                Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() => PathKind::Directory,
                Ok(_) => PathKind::File,
            };
            named(format!("masking /{path}"), self.cover(&path, kind))?;
        }
        Ok(())
    }

    fn dev(&self, devices: &[&'static str]) -> Result<(), Failed> {
        named("making /dev", self.make_dirs("dev/pts"))?;
        for name in devices {
            let path = format!("dev/{name}");
            let bind = || {
                let tree = clone_tree(CWD, &format!("/{path}"))?;
                restrict(
                    tree.as_fd(),
                    MountAttr {
                        read_only: false,
                        no_exec: true,
                    },
                    true,
                )?;
                write_file(self.root.as_fd(), &path, b"", 0o666)?;
                attach(tree.as_fd(), self.root.as_fd(), &path)
            };
            named(format!("providing /{path}"), bind())?;
        }
        let links = [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ];
        for (name, to) in links {
            named(
                format!("linking /dev/{name}"),
                symlinkat(to, &self.root, format!("dev/{name}").as_str()),
            )?;
        }
        let pts = || {
            let fs = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_flag(fs.as_fd(), "newinstance")?;
            fsconfig_set_string(fs.as_fd(), "ptmxmode", "0666")?;
            fsconfig_set_string(fs.as_fd(), "mode", "0620")?;
            fsconfig_create(fs.as_fd())?;
            let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            let tree = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)?;
            attach(tree.as_fd(), self.root.as_fd(), "dev/pts")
        };
        named("mounting terminals", pts())
    }

    /// Covers Qila's own directory, makes the root read only, and leaves the host's tree for good.
    pub(crate) fn enter(self) -> Result<(), Failed> {
        named("detaching scratch space", rustix::process::fchdir(&self.root))?;
        named(
            "detaching scratch space",
            unmount(".qila/scratch", UnmountFlags::DETACH),
        )?;
        named("hiding private directory", self.cover(OWN, PathKind::Directory))?;
        named("making the root read only", freeze(self.root.as_fd()))?;
        named("entering the new root", rustix::process::pivot_root(".", "."))?;
        named("leaving the host's tree", unmount(".", UnmountFlags::DETACH))?;
        named("entering the new root", rustix::process::chdir("/"))
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits)
}

fn relative(target: &str) -> &str {
    target.trim_start_matches('/')
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(head, _)| head)
}

fn exists(root: BorrowedFd<'_>, path: &str) -> bool {
    inside(root, path).is_ok()
}

/// Opens a place beneath the new root; links on the way lead to where they will lead once it is the real one.
fn inside(root: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(
        root,
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        how,
    )
}

fn directory(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    openat(
        at,
        path,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
}

fn write_file(root: BorrowedFd<'_>, path: &str, bytes: &[u8], bits: u32) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(root, path, flags, mode(bits))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest)?;
        rest = rest.get(n..).unwrap_or(&[]);
    }
    Ok(())
}

/// A copy of the mounts at and beneath a path, not yet placed anywhere.
fn clone_tree(at: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    open_tree(at, path, flags)
}

/// Places a mount. The last part of the path is not followed if it is a symbolic link.
fn attach(tree: BorrowedFd<'_>, at: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
    let place = inside(at, path)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", place.as_fd(), "", flags)
}

fn tmpfs(size: &str, files: u64, bits: &str) -> Result<OwnedFd, Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(fs.as_fd(), "size", size)?;
    fsconfig_set_string(fs.as_fd(), "nr_inodes", files.to_string())?;
    fsconfig_set_string(fs.as_fd(), "mode", bits)?;
    fsconfig_create(fs.as_fd())?;
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
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

fn by_fd(fd: &OwnedFd) -> String {
    use rustix::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Lower, upper and work directory are given as descriptors: no separator in a name can be misread, and nothing can be
/// swapped between the look and the mount.
fn overlay(lower: &str, upper: &str, work: &str) -> Result<OwnedFd, Errno> {
    let [lower, upper, work] = [lower, upper, work].map(|p| directory(CWD, p));
    let (lower, upper, work) = (lower?, upper?, work?);
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(fs.as_fd(), "source", "qila")?;
    fsconfig_set_string(fs.as_fd(), "lowerdir", by_fd(&lower))?;
    fsconfig_set_string(fs.as_fd(), "upperdir", by_fd(&upper))?;
    fsconfig_set_string(fs.as_fd(), "workdir", by_fd(&work))?;
    fsconfig_set_string(fs.as_fd(), "index", "off")?;
    fsconfig_set_string(fs.as_fd(), "xino", "off")?;
    // Not written out when it is unmounted: a layer that is kept is written out by the launcher, before it says so.
    fsconfig_set_flag(fs.as_fd(), "volatile")?;
    fsconfig_set_flag(fs.as_fd(), "userxattr")?;
    fsconfig_create(fs.as_fd())?;
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let tree = fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)?;
    fstat(&tree).map(|_| tree)
}

/// The host's bundle with the sandbox's CA behind it. The bundle of the view's own base comes first where it has one.
fn host_bundle(ca: &[u8]) -> Vec<u8> {
    const KNOWN: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let mut bytes = KNOWN
        .iter()
        .find_map(|p| std::fs::read(Path::new(p)).ok())
        .unwrap_or_default();
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend(ca);
    bytes
}
