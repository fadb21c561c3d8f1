//! The layer of one run: its directory under Qila's state and the workspace it lies over.
use crate::apply::{self, Applied, ApplyError, ApplyOptions, Recovered};
use crate::error::Context;
use crate::state::StateError;
use crate::{
    At, Baseline, BaselineError, Changes, Layer, LayerState, Limits, Progress, RemoveError, Removed,
    WalkError,
};
use crate::{os, remove_tree};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::Mode;
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;

const LAYER: &str = "layer";
const UPPER: &str = "layer/upper";
const WORK: &str = "layer/work";

/// Why the layer of a run is not at hand.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The run had no copy-on-write layer, or it is gone.
    #[error("this run has no workspace layer: it ran with `--direct`, read-only or without a workspace")]
    NoLayer,
    /// The layer was removed.
    #[error("the changes of this run were discarded; they cannot be had back")]
    Discarded,
    /// An apply was cut off and must be undone before the layer may go.
    #[error("an apply of this run was cut off; `qila apply` it again to undo the cut-off one, then discard")]
    Unfinished,
    /// A system call failed.
    #[error("the layer is not usable")]
    System(#[from] At),
    /// The baseline could not be kept.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// The run's state could not be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something of the layer remains.
    #[error("the layer is not wholly removed")]
    Remove(#[from] RemoveError),
}

/// The layer of one run, opened for looking at and applying.
#[derive(Debug)]
pub struct RunLayer {
    pub(crate) run: OwnedFd,
    pub(crate) layer: Layer,
}

impl RunLayer {
    /// Makes `layer/upper` and `layer/work` in the run's directory and takes the [`Baseline`]. Called at launch.
    ///
    /// The agent sees the upper directory's permission bits as those of its workspace, so they are copied.
    pub fn prepare(run: impl AsFd, workspace: impl AsFd) -> Result<(), RunError> {
        let (run, workspace) = (run.as_fd(), workspace.as_fd());
        let mode = rustix::fs::fstat(workspace)
            .at("reading", Path::new("workspace"))?
            .st_mode
            & os::PERMISSIONS;
        for (name, mode) in [(LAYER, 0o700), (UPPER, mode), (WORK, 0o700)] {
            match rustix::fs::mkdirat(run, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(At::new("making", Path::new(name), e).into()),
            }
            let (dir, last) = os::open_parent(run, Path::new(name)).at("opening", Path::new(name))?;
            os::set_mode(dir.as_fd(), last, mode).at("setting the mode of", Path::new(name))?;
        }
        Baseline::capture(workspace, run)?;
        Ok(())
    }

    /// Opens the layer of a run that has ended, given its directory and the workspace.
    pub fn open(run: impl AsFd, workspace: impl AsFd) -> Result<RunLayer, RunError> {
        let run = os::open_dir(run.as_fd(), Path::new(".")).at("opening", Path::new("."))?;
        if LayerState::read(&run)?.progress == Progress::Discarded {
            return Err(RunError::Discarded);
        }
        let upper = match os::open_dir(run.as_fd(), Path::new(UPPER)) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Err(RunError::NoLayer),
            Err(Errno::ACCESS) => reopen(run.as_fd()).at("opening", Path::new(UPPER))?,
            Err(e) => return Err(At::new("opening", Path::new(UPPER), e).into()),
        };
        let layer = Layer::open(upper, workspace)?;
        Ok(RunLayer { run, layer })
    }

    /// Uses other bounds than the default ones.
    pub fn with_limits(mut self, limits: Limits) -> RunLayer {
        self.layer = self.layer.with_limits(limits);
        self
    }

    /// The layer itself, for [`crate::write_diff`] and [`crate::write_stat`].
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// What has been done with the layer so far.
    pub fn state(&self) -> Result<LayerState, StateError> {
        LayerState::read(&self.run)
    }

    /// What is left to apply: what differs, without paths that were applied already.
    pub fn changes(&self) -> Result<Changes, ApplyError> {
        let state = self.state()?;
        let mut changes = self.layer.changes().map_err(|e: WalkError| ApplyError::Walk(e))?;
        if state.progress == Progress::Applied {
            changes.entries.clear();
        }
        changes.entries.retain(|c| !apply::is_done(&state, &c.path));
        Ok(changes)
    }

    /// Carries changes over to the workspace: all that were chosen, or none.
    pub fn apply(&self, options: &ApplyOptions) -> Result<Applied, ApplyError> {
        apply::apply(self, options, &mut apply::Straight)
    }

    /// Undoes, or tidies up after, an apply that was cut off. [`RunLayer::apply`] does this first by itself.
    pub fn recover(&self) -> Result<Option<Recovered>, ApplyError> {
        apply::recover_alone(self)
    }

    /// Removes the layer. A discard that was cut off may be repeated.
    pub fn discard(run: impl AsFd) -> Result<Removed, RunError> {
        let run = os::open_dir(run.as_fd(), Path::new(".")).at("opening", Path::new("."))?;
        let there = os::stat_if_there(run.as_fd(), OsStr::new(LAYER))
            .at("reading", Path::new(LAYER))?
            .is_some();
        let mut state = LayerState::read(&run)?;
        match (there, state.progress) {
            (false, Progress::Discarded) => return Err(RunError::Discarded),
            (false, _) => return Err(RunError::NoLayer),
            _ => {}
        }
        if apply::is_unfinished(run.as_fd())? {
            return Err(RunError::Unfinished);
        }
        // Said before it is done: a layer that is half removed must never be shown or applied.
        state.progress = Progress::Discarded;
        state.write(run.as_fd())?;
        Ok(remove_tree(&run, OsStr::new(LAYER))?)
    }
}

/// The agent may take away its workspace's own permission bits, which are those of the upper directory.
fn reopen(run: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let layer = os::open_dir(run, Path::new(LAYER))?;
    crate::spine::open_any(layer.as_fd(), OsStr::new("upper"))
}
