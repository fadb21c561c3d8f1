//! A small process that cleans up if Qila itself is killed: cgroups have no owner that could die with it.
use super::evidence::Evidence;
use crate::fail::Fail;
use crate::home::Home;
use crate::leases;
use crate::state::{self, RunDir};
use qila_plan::Plan;
use qila_sandbox::sweep_cgroup;
use qila_sys::fork::{Fork, Namespaces, exit_now, fork};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::path::Path;
use std::time::Duration;

/// Age from which a directory without a description is one that was left, not one being made.
const SETTLED: Duration = Duration::from_secs(10);

/// The process, and the pipe whose closing without a word sets it to work.
#[derive(Debug)]
pub(crate) struct Janitor {
    word: OwnedFd,
    pidfd: OwnedFd,
}

impl Janitor {
    /// Starts one if the plan makes anything that outlives its processes.
    pub(crate) fn hire(plan: &Plan) -> Result<Option<Janitor>, Errno> {
        if plan.cgroup().is_empty() {
            return Ok(None);
        }
        let (listen, word) = pipe_with(PipeFlags::CLOEXEC)?;
        match fork(Namespaces::NONE)? {
            Fork::Parent { pidfd, .. } => Ok(Some(Janitor { word, pidfd })),
            Fork::Child => {
                drop(word);
                watch(plan, &listen);
                exit_now(0)
            }
        }
    }

    /// Sends it home: everything was taken back already.
    ///
    /// If the word does not reach it, the closing pipe does, and it finds nothing left to do.
    pub(crate) fn dismiss(self) -> Result<(), Errno> {
        let Janitor { word, pidfd } = self;
        let told = rustix::io::write(&word, b"d");
        drop(word);
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
        told.map(drop)
    }
}

fn watch(plan: &Plan, listen: &OwnedFd) {
    // A session of its own: the terminal's signals are not for it; and no stream of the caller's is held open.
    let _ = rustix::process::setsid();
    if let Ok(null) = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    let mut word = [0u8; 1];
    if rustix::io::retry_on_intr(|| rustix::io::read(listen, &mut word)) == Ok(1) {
        return;
    }
    for path in plan.cgroup().directories.iter().rev() {
        let _ = sweep_cgroup(Path::new(path));
    }
}

/// Takes back what runs whose launcher and janitor both vanished have left.
pub(crate) fn sweep(home: &Home) -> Result<(), Fail> {
    for run in state::list(home) {
        if run.is_running() {
            continue;
        }
        match run.meta() {
            Some(meta) if meta.ended.is_none() => reclaim(home, &run, meta)?,
            Some(_) => {}
            // Killed before it had written what it is, so before it made anything; or just now about to.
            None if run.age().is_some_and(|age| age > SETTLED) => run.remove(home)?,
            None => {}
        }
    }
    crate::gateways::sweep(home)?;
    leases::sweep(home)
}

/// Credentials that ended with the run: the others are their providers' to take back, which is recorded when they have.
fn ended(home: &Home, run: &RunDir, meta: &crate::state::Meta) -> Result<Vec<String>, Fail> {
    let remembered = leases::remembered(home, &run.id)?;
    let all = meta.leases.iter();
    Ok(all.filter(|name| !remembered.contains(*name)).cloned().collect())
}

fn reclaim(home: &Home, run: &RunDir, meta: crate::state::Meta) -> Result<(), Fail> {
    let found = take_back(run, &meta)?;
    crate::budgets::fold(home, &run.id)?;
    // Before the directory goes: it is what says that there is something to record.
    Evidence::of(home, &run.id)
        .orphaned(&ended(home, run, &meta)?, found)
        .map_err(|fail| fail.prefix(&format!("run {} was left behind, and ", run.id)))?;
    if !run.holds_changes() {
        return run.remove(home);
    }
    mark(run, meta)
}

/// Records that a run which nobody looks after has ended, unless that was done. Its directory stays.
pub(crate) fn settle(home: &Home, run: &RunDir) -> Result<(), Fail> {
    let Some(meta) = run.meta().filter(|m| m.ended.is_none()) else {
        return Ok(());
    };
    let found = take_back(run, &meta)?;
    crate::budgets::fold(home, &run.id)?;
    Evidence::of(home, &run.id).orphaned(&ended(home, run, &meta)?, found)?;
    mark(run, meta)
}

fn mark(run: &RunDir, mut meta: crate::state::Meta) -> Result<(), Fail> {
    meta.ended = Some("orphaned".into());
    run.write_meta(&meta)
}

/// Takes back what outlives the processes of a run; answers what there was, in words.
fn take_back(run: &RunDir, meta: &crate::state::Meta) -> Result<Vec<String>, Fail> {
    let mut found = vec![format!("the directory {}", run.path().display())];
    for path in meta
        .cgroups
        .iter()
        .filter(|p| p.starts_with("/sys/fs/cgroup/") && p.ends_with(run.id.as_str()))
    {
        if Path::new(path).exists() {
            found.push(format!("the cgroup {path}"));
        }
        let swept = sweep_cgroup(Path::new(path));
        swept.map_err(|e| {
            Fail::new(format!(
                "run {} left {path}, which cannot be removed: {e}",
                run.id
            ))
        })?;
    }
    Ok(found)
}
