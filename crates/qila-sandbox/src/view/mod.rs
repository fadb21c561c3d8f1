//! Building the agent's file system inside a mount namespace of its own.
mod blank;
mod content;
mod dev;
mod engine;
mod mounts;
mod place;
mod source;

use blank::Blank;
use mounts::{attach, clone_tree, directory, inside, tmpfs};
use place::{link, make_dirs, mode, parent, place, relative, write_file};
use qila_plan::{Engine, Injected, PathKind, View, ViewEntry};
use qila_sys::mount::{MountAttr, freeze, restrict};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, mkdirat};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
pub(crate) use source::{Source, overlay};

/// A step's name and what the kernel said.
pub(crate) type Failed = (String, Errno);

/// Where Qila keeps its own empty file, empty directory, injected files and scratch space; covered before the agent runs.
const OWN: &str = ".qila";
const SCRATCH: &str = ".qila/scratch";
const BASE: &str = ".qila/base";

fn named<T>(step: impl FnOnce() -> String, result: Result<T, Errno>) -> Result<T, Failed> {
    result.map_err(|e| (step(), e))
}

/// A view under construction.
pub(crate) struct Builder<'a> {
    view: &'a View,
    root: OwnedFd,
    /// The base's layers, laid over each other.
    base: Option<OwnedFd>,
    /// The engine's program.
    engine: Option<OwnedFd>,
}

impl<'a> Builder<'a> {
    /// Opens everything that comes from the host, then puts the empty root in place.
    pub(crate) fn new(view: &'a View, engine: Option<&Engine>) -> Result<(Builder<'a>, Vec<Source>), Failed> {
        let engine = engine.map(|e| {
            let what = || format!("opening the engine {}", e.program);
            named(what, engine::program(&e.program))
        });
        let engine = engine.transpose()?;
        let sources = source::open_all(view)?;
        let base = source::base(&view.lower)?;
        let root = named(|| "mounting the new root".into(), tmpfs("4m", 16_384, "0755"))?;
        let placed = directory(CWD, &view.root).and_then(|place| attach(&root, place));
        named(|| format!("placing the new root over {}", view.root), placed)?;
        // The mount's own descriptor stays one of a tree without a place; what is opened anew is the directory.
        let root = named(|| "opening the new root".into(), directory(CWD, &view.root))?;
        let builder = Builder {
            view,
            root,
            base,
            engine,
        };
        Ok((builder, sources))
    }

    /// Adds every entry in order. `ca` is the sandbox's CA certificate, where there is one.
    pub(crate) fn build(self, sources: Vec<Source>, ca: &[u8]) -> Result<Built<'a>, Failed> {
        let root = self.root.as_fd();
        named(
            || "making private directory".into(),
            mkdirat(root, OWN, mode(0o755)),
        )?;
        let blank = named(|| "making nothing".into(), Blank::new(root))?;
        self.scratch()?;
        self.base()?;
        let mut sources = sources.into_iter().peekable();
        for (i, entry) in self.view.entries.iter().enumerate() {
            let source = sources.next_if(|(at, _)| *at == i).map(|(_, fd)| fd);
            self.add(entry, source, &blank, ca)?;
        }
        Ok(Built {
            view: self.view,
            root: self.root,
            blank,
            engine: self.engine,
        })
    }

    /// One memory-backed file system behind every scratch directory, so that one size bounds them together.
    fn scratch(&self) -> Result<(), Failed> {
        let size = self
            .view
            .scratch
            .map_or_else(|| "1g".to_owned(), |b| b.0.max(65_536).to_string());
        let tree = named(
            || "mounting scratch space".into(),
            tmpfs(&size, self.view.scratch_files, "0755"),
        )?;
        let placed = mkdirat(&self.root, SCRATCH, mode(0o755))
            .and_then(|()| directory(self.root.as_fd(), SCRATCH))
            .and_then(|place| attach(tree, place));
        named(|| "placing scratch space".into(), placed)
    }

    /// The whole base, in Qila's own directory, from which its directories are shown.
    fn base(&self) -> Result<(), Failed> {
        let Some(tree) = &self.base else {
            return Ok(());
        };
        let placed = mkdirat(&self.root, BASE, mode(0o755))
            .and_then(|()| directory(self.root.as_fd(), BASE))
            .and_then(|place| attach(tree, place));
        named(|| "placing the base's layers".into(), placed)
    }

    fn add(
        &self,
        entry: &ViewEntry,
        source: Option<OwnedFd>,
        blank: &Blank,
        ca: &[u8],
    ) -> Result<(), Failed> {
        let root = self.root.as_fd();
        let label = |what: &'static str| move || format!("{what} {}", entry.target());
        match entry {
            ViewEntry::Host { target, kind, .. } => {
                named(label("mounting"), self.mount(source, target, *kind))
            }
            ViewEntry::Layer { target, .. } => {
                named(label("mounting"), self.mount(source, target, PathKind::Directory))
            }
            ViewEntry::Image { target } => {
                let tree = clone_tree(root, &format!("{BASE}/{}", relative(target)));
                let placed = tree.and_then(|t| attach(t, place(root, target, PathKind::Directory)?));
                named(label("mounting"), placed)
            }
            ViewEntry::Link { target, to } => named(label("linking"), link(root, target, to)),
            ViewEntry::Scratch { target, mode } => named(label("mounting"), self.scratch_at(target, *mode)),
            ViewEntry::Hidden { target, kind } => {
                named(label("hiding"), blank.cover(root, relative(target), *kind))
            }
            ViewEntry::Injected { target, content } => {
                named(label("providing"), self.inject(target, *content, ca))
            }
            ViewEntry::Proc { masked } => blank.proc(root, masked),
            ViewEntry::Dev { devices } => dev::build(root, devices),
        }
    }

    fn mount(&self, source: Option<OwnedFd>, target: &str, kind: PathKind) -> Result<(), Errno> {
        let tree = source.ok_or(Errno::NOENT)?;
        attach(tree, place(self.root.as_fd(), target, kind)?)
    }

    fn scratch_at(&self, target: &str, bits: u32) -> Result<(), Errno> {
        let name = format!("{SCRATCH}/{}", relative(target).replace('/', "-"));
        // No mask is set while the view is built: these are the bits that it has.
        mkdirat(&self.root, name.as_str(), mode(bits))?;
        let tree = clone_tree(self.root.as_fd(), &name)?;
        attach(tree, place(self.root.as_fd(), target, PathKind::Directory)?)
    }

    fn inject(&self, target: &str, content: Injected, ca: &[u8]) -> Result<(), Errno> {
        let bytes = content::of(content, ca);
        let (root, path) = (self.root.as_fd(), relative(target));
        let Ok(there) = inside(root, path) else {
            make_dirs(root, parent(path))?;
            return write_file(root, path, &bytes, 0o444).map(drop);
        };
        let name = format!("{OWN}/{}", path.replace('/', "-"));
        write_file(root, &name, &bytes, 0o444)?;
        let tree = clone_tree(root, &name)?;
        restrict(
            tree.as_fd(),
            MountAttr {
                read_only: true,
                no_exec: true,
            },
            false,
        )?;
        attach(tree, there)
    }
}

/// A view that lacks nothing.
pub(crate) struct Built<'a> {
    view: &'a View,
    root: OwnedFd,
    blank: Blank,
    engine: Option<OwnedFd>,
}

impl Built<'_> {
    /// Covers Qila's own directory, makes the root read only, and leaves the host's tree for good.
    pub(crate) fn enter(self) -> Result<(), Failed> {
        self.close()?;
        pivot(self.root.as_fd())
    }

    /// Covers Qila's own directory and makes the root read only.
    fn close(&self) -> Result<(), Failed> {
        let root: BorrowedFd<'_> = self.root.as_fd();
        named(|| "entering the new root".into(), rustix::process::fchdir(root))?;
        let covered = self.blank.cover(root, OWN, PathKind::Directory);
        named(|| "hiding private directory".into(), covered)?;
        named(|| "making the root read only".into(), freeze(root))
    }
}

/// Makes a tree the root, and leaves the host's.
fn pivot(root: BorrowedFd<'_>) -> Result<(), Failed> {
    named(|| "entering the new root".into(), rustix::process::fchdir(root))?;
    named(
        || "entering the new root".into(),
        rustix::process::pivot_root(".", "."),
    )?;
    named(
        || "leaving the host's tree".into(),
        unmount(".", UnmountFlags::DETACH),
    )?;
    named(|| "entering the new root".into(), rustix::process::chdir("/"))
}
