//! Carries changes over to the workspace as one transaction.
//!
//! 1. An intent is written to the run's directory, then everything new is built in a staging directory at the
//!    workspace's root and made durable.
//! 2. The journal with every operation is made durable. Operations are renames: what is replaced or removed moves
//!    into the staging directory, so each can be undone.
//! 3. When all is done and durable, the run's state is replaced: that one rename is the commit point.
//!
//! An error before the commit point undoes what was done. After a crash the next call does: it looks at which inode
//! lies where, and so needs no record per operation.
mod commit;
mod digest;
mod error;
mod journal;
mod plan;
mod recover;
mod stage;
mod step;
#[cfg(test)]
mod tests;

use crate::conflict::conflicts;
use crate::error::Context;
use crate::select::{is_named, select};
use crate::state::StateError;
use crate::{At, Baseline, Change, Changes, Conflict, LayerState, Progress, RunLayer, Skipped, os};
use journal::Journal;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::path::{Path, PathBuf};

pub use error::ApplyError;
pub(crate) use journal::is_unfinished;
pub use recover::Recovered;
pub(crate) use step::Straight;
use step::{Halt, Steps};

/// What to do with changes that the host would obey without being asked; see [`crate::RISKS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Risky {
    /// Refuse the apply unless each such path is named itself.
    #[default]
    Refuse,
    /// Apply them like others.
    Include,
    /// Leave them in the layer and apply the others.
    Leave,
}

/// What to apply, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Paths relative to the workspace, each with all beneath it; none means everything.
    pub paths: Option<Vec<PathBuf>>,
    /// Changes that the host would obey without being asked.
    pub risky: Risky,
    /// Replace what changed on the host after the launch.
    pub overwrite: bool,
}

/// What was applied.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Applied {
    /// The changes that the workspace now has.
    pub changes: Vec<Change>,
    /// What the agent left that is never applied.
    pub skipped: Vec<Skipped>,
    /// Changes still in the layer, which a later apply may carry over.
    pub left: usize,
    /// Bytes of file content written.
    pub bytes: u64,
    /// SHA-256 over the applied changes, in hexadecimal.
    pub digest: String,
    /// An earlier apply that had been cut off was undone first.
    pub recovered: Option<Recovered>,
    /// The staging directory, when it could not be removed after all was applied; the next call tries again.
    pub left_behind: Option<String>,
}

/// Whether a path was applied before.
pub(crate) fn is_done(state: &LayerState, path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    state
        .done
        .contains(&crate::change::to_hex(path.as_os_str().as_bytes()))
}

/// Held while the run and the workspace are worked on.
struct Locks {
    _layer: OwnedFd,
    _workspace: OwnedFd,
}

fn lock(run: &RunLayer) -> Result<Locks, ApplyError> {
    let take = |dir: BorrowedFd<'_>, at: &str, name: &str| -> Result<OwnedFd, ApplyError> {
        // A descriptor of its own: the lock goes with it.
        let fd = os::open_dir(dir, Path::new(at)).at("opening", Path::new(name))?;
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(fd),
            Err(Errno::WOULDBLOCK) => Err(ApplyError::Busy),
            Err(e) => Err(At::new("locking", Path::new(name), e).into()),
        }
    };
    Ok(Locks {
        // Not the run's directory itself: a lock on that one says that the run is going on.
        _layer: take(run.run.as_fd(), "layer", "layer")?,
        _workspace: take(run.layer.lower(), ".", "workspace")?,
    })
}

pub(crate) fn recover_alone(run: &RunLayer) -> Result<Option<Recovered>, ApplyError> {
    let _locks = lock(run)?;
    recover::recover(run.run.as_fd(), run.layer.lower())
}

pub(crate) fn apply(
    run: &RunLayer,
    options: &ApplyOptions,
    steps: &mut dyn Steps,
) -> Result<Applied, ApplyError> {
    let _locks = lock(run)?;
    let recovered = recover::recover(run.run.as_fd(), run.layer.lower())?;
    if let Some(recovered) = recovered.as_ref().filter(|r| !r.kept.is_empty()) {
        return Err(ApplyError::Recovered(recovered.clone()));
    }
    let state = run.state()?;
    if state.progress == Progress::Applied {
        return Err(ApplyError::AlreadyApplied);
    }
    let all = run.changes()?;
    let chosen = choose(&all, options)?;
    refuse_conflicts(run, &chosen, options)?;
    let left = all.entries.len() - chosen.len();
    let done = transaction(run, &chosen, state, left, steps)?;
    Ok(Applied {
        changes: chosen,
        skipped: all.skipped,
        left,
        bytes: done.bytes,
        digest: done.digest,
        recovered,
        left_behind: done.left_behind,
    })
}

/// The changes to apply, unless a named path or a risk is in the way.
fn choose(all: &Changes, options: &ApplyOptions) -> Result<Vec<Change>, ApplyError> {
    let named = options.paths.as_deref().unwrap_or_default();
    let mut chosen = match &options.paths {
        None => all.entries.clone(),
        Some(paths) => match select(&all.entries, paths) {
            (chosen, unknown) if unknown.is_empty() => chosen,
            (_, unknown) => return Err(ApplyError::NoSuchChange(unknown)),
        },
    };
    match options.risky {
        Risky::Include => {}
        Risky::Leave => chosen.retain(|c| c.risk.is_none() || is_named(c, named)),
        Risky::Refuse => {
            let risky: Vec<_> = chosen
                .iter()
                .filter(|c| !is_named(c, named))
                .filter_map(|c| Some((c.path.clone(), c.risk?)))
                .collect();
            if !risky.is_empty() {
                return Err(ApplyError::RiskyPaths(risky));
            }
        }
    }
    Ok(chosen)
}

fn refuse_conflicts(run: &RunLayer, chosen: &[Change], options: &ApplyOptions) -> Result<(), ApplyError> {
    let baseline = match Baseline::read(&run.run)? {
        Some(baseline) => baseline,
        None if options.overwrite => return Ok(()),
        None => return Err(ApplyError::NoBaseline),
    };
    let root = rustix::fs::fstat(run.layer.lower()).at("reading", Path::new("workspace"))?;
    if !baseline.is_root(&root) {
        return Err(ApplyError::WorkspaceReplaced);
    }
    if options.overwrite {
        return Ok(());
    }
    match conflicts(run.layer.lower(), chosen, baseline.mark())? {
        found if found.is_empty() => Ok(()),
        found => Err(ApplyError::Conflicts(found)),
    }
}

struct Done {
    bytes: u64,
    digest: String,
    left_behind: Option<String>,
}

/// Why a step before the commit point ended the transaction.
enum Broken {
    At(At),
    Conflict(Conflict),
    State(StateError),
    #[cfg(test)]
    Crash,
}

impl From<At> for Broken {
    fn from(at: At) -> Broken {
        Broken::At(at)
    }
}

impl From<StateError> for Broken {
    fn from(e: StateError) -> Broken {
        Broken::State(e)
    }
}

impl From<Halt> for Broken {
    fn from(halt: Halt) -> Broken {
        match halt {
            #[cfg(test)]
            Halt::Fail(e) => Broken::At(At::new("testing", Path::new("."), e)),
            #[cfg(test)]
            Halt::Crash => Broken::Crash,
        }
    }
}

fn transaction(
    run: &RunLayer,
    chosen: &[Change],
    state: LayerState,
    left: usize,
    steps: &mut dyn Steps,
) -> Result<Done, ApplyError> {
    let (here, root) = (run.run.as_fd(), run.layer.lower());
    let broken = match work(run, chosen, state, left, steps) {
        Ok((bytes, digest)) => {
            // Past the commit point: what remains to be tidied up does not make the apply fail.
            let left_behind = recover::recover(here, root).err().map(|e| e.to_string());
            return Ok(Done {
                bytes,
                digest,
                left_behind,
            });
        }
        Err(broken) => broken,
    };
    #[cfg(test)]
    if let Broken::Crash = broken {
        return Err(ApplyError::Busy);
    }
    match recover::recover(here, root) {
        Ok(Some(undone)) if !undone.kept.is_empty() => return Err(ApplyError::Recovered(undone)),
        Ok(_) => {}
        Err(ApplyError::System(at)) => return Err(ApplyError::Stuck(at)),
        Err(other) => return Err(other),
    }
    Err(match broken {
        Broken::At(at) if matches!(at.source, Errno::NOSPC | Errno::DQUOT) => ApplyError::NoSpace(at),
        Broken::At(at) => ApplyError::Failed(at),
        Broken::Conflict(conflict) => ApplyError::Conflicts(vec![conflict]),
        Broken::State(e) => e.into(),
        #[cfg(test)]
        Broken::Crash => ApplyError::Busy,
    })
}

/// Everything up to and including the commit point.
fn work(
    run: &RunLayer,
    chosen: &[Change],
    mut state: LayerState,
    left: usize,
    steps: &mut dyn Steps,
) -> Result<(u64, String), Broken> {
    let (here, root) = (run.run.as_fd(), run.layer.lower());
    let mut journal = Journal::new(state.applies + 1).at("naming", Path::new("staging"))?;
    journal.write(here)?;
    steps.reached("intent written")?;
    let staging = stage::make(root, &journal.staging)?;
    steps.reached("staging made")?;
    let staged = stage::fill(run.layer.upper(), staging.as_fd(), chosen, steps)?;
    stage::sync(root, staging.as_fd(), &staged).at("syncing", Path::new(&journal.staging))?;
    steps.reached("staging synced")?;
    journal.ops = plan::operations(chosen, &staged);
    journal.write(here)?;
    steps.reached("journal written")?;
    for op in &journal.ops {
        commit::perform(root, staging.as_fd(), op)?;
        steps.reached("operation done")?;
    }
    commit::sync(root, staging.as_fd(), &journal.ops)?;
    steps.reached("operations synced")?;
    let digest = digest::of(chosen, &staged);
    state.applies = journal.number;
    state.digests.push(digest.clone());
    state.progress = if left == 0 {
        Progress::Applied
    } else {
        Progress::Partial
    };
    state
        .done
        .extend(chosen.iter().map(|c| journal::Raw(c.path.clone()).into()));
    state.write(here)?;
    Ok((staged.iter().map(|s| s.bytes).sum(), digest))
}
