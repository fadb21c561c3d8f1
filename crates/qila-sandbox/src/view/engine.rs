//! The root of an engine: the agent's view in one directory of it, and beside it the little that the engine needs itself. The agent
//! is shown its view alone.
use super::mounts::{attach, clone_root, directory, tmpfs};
use super::place::{make_dirs, mode, place, write_file};
use super::{Built, Failed, dev, named, pivot};
use qila_plan::PathKind;
use qila_sys::mount::{MountAttr, restrict};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{CWD, mkdirat};
use rustix::io::Errno;

/// The view, the engine's state, what it is told, what its PID 1 is told, and what every program may want.
const DIRECTORIES: [&str; 6] = ["rootfs", "state", "bundle", "init", "proc", "tmp"];
/// Devices that it is given.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Where the agent's PID 1 is shown in the view.
const INIT: &str = "run/qila-init";
/// Largest guest, in bytes.
const GUEST: usize = 64 << 20;

impl Built<'_> {
    /// Closes the view, puts it into an engine's root, and enters that.
    pub(crate) fn enter_engine(self, guest: BorrowedFd<'_>) -> Result<(), Failed> {
        // A place for what the engine shows of its own: no more can be made in a view that is closed.
        let made = make_dirs(self.root.as_fd(), INIT);
        named(|| format!("making /{INIT}"), made)?;
        self.close()?;
        // Before anything lies over it.
        let view = named(|| "copying the view".into(), clone_root(self.root.as_fd()))?;
        let tree = named(|| "making the engine's root".into(), tmpfs("64m", 4096, "0755"))?;
        let placed = directory(CWD, &self.view.root).and_then(|over| attach(&tree, over));
        named(|| "placing the engine's root".into(), placed)?;
        let root = named(
            || "opening the engine's root".into(),
            directory(CWD, &self.view.root),
        )?;
        let root = root.as_fd();
        for name in DIRECTORIES {
            named(|| format!("making /{name}"), mkdirat(root, name, mode(0o755)))?;
        }
        let shown = directory(root, "rootfs").and_then(|place| attach(view, place));
        named(|| "showing the view to the engine".into(), shown)?;
        named(|| "mounting procfs for the engine".into(), proc(root))?;
        dev::build(root, &DEVICES.map(Into::into))?;
        let program = self.engine.as_ref().ok_or(Errno::NOENT);
        let program = program.and_then(|p| attach(p, place(root, "engine", PathKind::File)?));
        named(|| "providing the engine".into(), program)?;
        named(|| "providing the guest".into(), copy(root, guest))?;
        pivot(root)
    }
}

/// One of the engine's own, which it may write: it maps users of the namespaces that it makes.
fn proc(root: BorrowedFd<'_>) -> Result<(), Errno> {
    attach(super::blank::procfs(false)?, directory(root, "proc")?)
}

fn copy(root: BorrowedFd<'_>, guest: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut bytes = vec![0; 64 << 10];
    let mut whole = Vec::new();
    loop {
        let n = rustix::io::pread(guest, &mut bytes, u64::try_from(whole.len()).unwrap_or(u64::MAX))?;
        if n == 0 {
            break;
        }
        whole.extend_from_slice(bytes.get(..n).unwrap_or(&[]));
        if whole.len() > GUEST {
            return Err(Errno::FBIG);
        }
    }
    write_file(root, "init/guest", &whole, 0o555).map(drop)
}

/// A program of the host, read only.
pub(super) fn program(path: &str) -> Result<rustix::fd::OwnedFd, Errno> {
    let tree = super::mounts::clone_tree(CWD, path)?;
    restrict(
        tree.as_fd(),
        MountAttr {
            read_only: true,
            no_exec: false,
        },
        false,
    )?;
    Ok(tree)
}
