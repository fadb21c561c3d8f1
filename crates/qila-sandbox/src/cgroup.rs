//! Making and reading the cgroups of a plan.
use crate::error::{LaunchError, step};
use crate::undo::{Undo, Undos};
use qila_plan::CgroupPlan;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, mkdir, openat};
use rustix::io::Errno;

/// Makes the directories and writes the values.
pub(crate) fn make(plan: &CgroupPlan, undos: &mut Undos) -> Result<(), LaunchError> {
    for path in &plan.directories {
        undos.push(Undo::Cgroup(path.into()));
        step(
            format!("making cgroup {path}"),
            mkdir(path, Mode::from_raw_mode(0o755)),
        )?;
    }
    for (path, value) in &plan.writes {
        match write(path, value) {
            // A kernel without swap accounting has no such file, and a host without swap needs none.
            Err(Errno::NOENT) if path.ends_with("memory.memsw.limit_in_bytes") && !swap_on() => {}
            Err(Errno::NOENT) if path.ends_with("memory.swap.max") && !swap_on() => {}
            other => step(format!("writing {value} to {path}"), other)?,
        }
    }
    Ok(())
}

fn open(path: &str, flags: OFlags) -> Result<OwnedFd, LaunchError> {
    step(
        format!("opening {path}"),
        openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()),
    )
}

/// The cgroup of the unified hierarchy in which the first process is to be born.
pub(crate) fn birthplace(plan: &CgroupPlan) -> Result<Option<OwnedFd>, LaunchError> {
    let path = plan.born_in.as_deref();
    path.map(|p| open(p, OFlags::PATH | OFlags::DIRECTORY))
        .transpose()
}

/// The doors of v1 cgroups, opened by the launcher, which may pass them: whoever writes `0` to each is in them.
pub fn doors(plan: &CgroupPlan) -> Result<Vec<OwnedFd>, LaunchError> {
    plan.join.iter().map(|p| open(p, OFlags::WRONLY)).collect()
}

/// Moves the calling process, which has one thread, through every door of a plan. One that is missing is an error.
pub(crate) fn enter(plan: &CgroupPlan, doors: &[OwnedFd]) -> Result<(), Errno> {
    if doors.len() != plan.join.len() {
        return Err(Errno::BADF);
    }
    for door in doors {
        rustix::io::write(door, b"0")?;
    }
    Ok(())
}

fn write(path: &str, value: &str) -> Result<(), Errno> {
    let fd = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&fd, value.as_bytes()).map(drop)
}

fn swap_on() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|t| t.lines().count() > 1)
}

/// What the kernel counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Processes killed for memory.
    pub killed_for_memory: u64,
    /// Forks refused.
    pub forks_refused: u64,
    /// Peak memory in bytes, where it is counted.
    pub peak_memory: Option<u64>,
}

/// Reads the counters of a plan's cgroups.
pub fn counters(plan: &CgroupPlan) -> Counters {
    let field = |path: &Option<String>, name: &str| -> u64 {
        let text = path
            .as_ref()
            .and_then(|p| std::fs::read_to_string(p).ok())
            .unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
    };
    Counters {
        killed_for_memory: field(&plan.oom, "oom_kill"),
        forks_refused: field(&plan.forks, "max"),
        peak_memory: plan
            .peak
            .as_ref()
            .and_then(|p| std::fs::read_to_string(p).ok())
            .and_then(|t| t.trim().parse().ok()),
    }
}
