//! The upper directory of a run beside the workspace it lies over.
use crate::walk::Walker;
use crate::{At, Changes, Limits};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

/// Why the changes of a layer could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The layer or the workspace could not be read.
    #[error("cannot compare the layer with the workspace; nothing was changed")]
    Read(#[from] At),
    /// More entries than [`Limits::entries`].
    #[error(
        "the agent left more than {0} entries to compare; look at the layer by hand, or `qila discard` the run"
    )]
    TooMany(usize),
    /// Something removed in the layer is deeper in the workspace than [`Limits::depth`].
    #[error(
        "{} is deeper than {limit} directories; remove it by hand",
        crate::quote_path(path)
    )]
    TooDeep {
        /// The directory in the workspace.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// An overlay attribute that Qila's own mounts never produce.
    #[error(
        "{} carries `{attribute}`, which Qila's mounts never write; `qila discard` the run",
        crate::quote_path(path)
    )]
    Forged {
        /// The entry of the layer.
        path: PathBuf,
        /// The attribute.
        attribute: &'static str,
    },
}

/// The upper directory of a run and the workspace below it, both held open.
#[derive(Debug)]
pub struct Layer {
    upper: OwnedFd,
    lower: OwnedFd,
    limits: Limits,
}

impl Layer {
    /// Opens a layer given the descriptors of its upper directory and of the workspace.
    pub fn open(upper: impl AsFd, lower: impl AsFd) -> Result<Layer, At> {
        // Opened anew: the caller's descriptors may be O_PATH, and their file positions are theirs.
        let again = |fd: BorrowedFd<'_>, what: &'static str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(fd, ".", flags, rustix::fs::Mode::empty())
                .map_err(|e: Errno| At::new("opening", Path::new(what), e))
        };
        Ok(Layer {
            upper: again(upper.as_fd(), "layer/upper")?,
            lower: again(lower.as_fd(), "workspace")?,
            limits: Limits::default(),
        })
    }

    /// Uses other bounds than the default ones.
    pub fn with_limits(mut self, limits: Limits) -> Layer {
        self.limits = limits;
        self
    }

    /// What differs between the workspace as it is now and what the agent left.
    pub fn changes(&self) -> Result<Changes, WalkError> {
        Walker::new(&self.limits).run(self.upper(), self.lower())
    }

    /// The bounds in use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn upper(&self) -> BorrowedFd<'_> {
        self.upper.as_fd()
    }

    pub(crate) fn lower(&self) -> BorrowedFd<'_> {
        self.lower.as_fd()
    }
}
