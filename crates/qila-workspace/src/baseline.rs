//! What is remembered at launch so that later host changes can be told from earlier ones.
//!
//! A stamp taken from the workspace's own file system (an unnamed file where it can make one) marks the moment before
//! the agent could read anything. An entry of the workspace whose change time is later was changed meanwhile. The
//! change time cannot be set by programs, and the stamp comes from the same clock; only a clock that is set back would
//! deceive it, so the boot clock is remembered too and the stamp moved back by what the wall clock lost against it.
use crate::change::Time;
use crate::error::Context;
use crate::{At, os, state};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::path::Path;

pub(crate) const FILE: &str = "baseline.json";
const PROBE: &str = "baseline.probe";
const NANOS: i128 = 1_000_000_000;
/// The wall clock may be slewed against the boot clock by this much before it counts as set back.
const SLACK: i128 = NANOS;

/// Why no baseline is at hand.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// A system call failed.
    #[error("cannot remember the state of the workspace")]
    System(#[from] At),
    /// It could not be written or read back.
    #[error("cannot keep the state of the workspace")]
    State(#[from] state::StateError),
}

/// The moment before an agent's first look at a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    version: u32,
    device: u64,
    inode: u64,
    stamp: Time,
    boot: String,
    /// Wall and boot clock, in nanoseconds.
    wall: i128,
    since_boot: i128,
}

impl Baseline {
    /// Takes the stamp and keeps it in the run's directory. To be called at launch, before the sandbox is mounted.
    pub fn capture(workspace: impl AsFd, run: impl AsFd) -> Result<Baseline, BaselineError> {
        let baseline = Baseline::take(workspace.as_fd(), run.as_fd())?;
        state::write(run.as_fd(), FILE, &baseline, state::Durable::No)?;
        Ok(baseline)
    }

    fn take(workspace: BorrowedFd<'_>, run: BorrowedFd<'_>) -> Result<Baseline, At> {
        let root = rustix::fs::fstat(workspace).at("reading", Path::new("workspace"))?;
        let probe = probe(workspace, run)?;
        let stamp = crate::Node::of(&rustix::fs::fstat(&probe).at("reading", Path::new(PROBE))?)
            .id
            .ctime;
        Ok(Baseline {
            version: 1,
            device: root.st_dev,
            inode: root.st_ino,
            stamp,
            boot: boot_id(),
            wall: clock(ClockId::Realtime),
            since_boot: clock(ClockId::Boottime),
        })
    }

    /// Reads what [`Baseline::capture`] kept.
    pub fn read(run: impl AsFd) -> Result<Option<Baseline>, BaselineError> {
        Ok(state::read(run.as_fd(), FILE)?)
    }

    /// Whether this is the directory that was the workspace at launch.
    pub(crate) fn is_root(&self, stat: &rustix::fs::Stat) -> bool {
        // Device numbers may be given out anew at boot; inode numbers stay.
        stat.st_ino == self.inode && (stat.st_dev == self.device || self.boot != boot_id())
    }

    /// The mark to compare with, by the clocks as they are now.
    pub(crate) fn mark(&self) -> Mark {
        self.mark_at(&boot_id(), clock(ClockId::Realtime), clock(ClockId::Boottime))
    }

    fn mark_at(&self, boot: &str, wall: i128, since_boot: i128) -> Mark {
        let stamp = i128::from(self.stamp.sec) * NANOS + i128::from(self.stamp.nsec);
        let lost = if boot == self.boot {
            (since_boot - self.since_boot) - (wall - self.wall)
        } else {
            0
        };
        let after = if lost > SLACK {
            stamp - lost
        } else if wall < self.wall {
            // The clock is behind the launch and how far it jumped is not known: nothing can be called older.
            i128::MIN
        } else {
            stamp
        };
        Mark {
            after,
            // Whole seconds only: a file system with coarse times, where the same second may be before or after.
            inclusive: self.stamp.nsec == 0,
        }
    }
}

/// Change times after this are later than the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    after: i128,
    inclusive: bool,
}

impl Mark {
    pub(crate) fn is_before(&self, time: Time) -> bool {
        let time = i128::from(time.sec) * NANOS + i128::from(time.nsec);
        time > self.after || (self.inclusive && time == self.after)
    }
}

/// A fresh inode whose times come from the workspace's file system, else from that of the run's directory.
fn probe(workspace: BorrowedFd<'_>, run: BorrowedFd<'_>) -> Result<OwnedFd, At> {
    let unnamed = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    if let Ok(fd) = rustix::fs::openat(workspace, ".", unnamed, Mode::RUSR | Mode::WUSR) {
        return Ok(fd);
    }
    let path = Path::new(PROBE);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let fd = os::open(run, path, flags, 0o600).at("creating", path)?;
    rustix::fs::unlinkat(run, OsStr::new(PROBE), rustix::fs::AtFlags::empty()).at("removing", path)?;
    Ok(fd)
}

fn clock(id: ClockId) -> i128 {
    let now = clock_gettime(id);
    i128::from(now.tv_sec) * NANOS + i128::from(now.tv_nsec)
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sec: i64) -> Time {
        Time { sec, nsec: 1 }
    }

    fn baseline() -> Baseline {
        Baseline {
            version: 1,
            device: 1,
            inode: 2,
            stamp: at(1000),
            boot: "boot".into(),
            wall: 1000 * NANOS,
            since_boot: 50 * NANOS,
        }
    }

    #[test]
    fn with_a_steady_clock_the_stamp_itself_is_the_mark() {
        let mark = baseline().mark_at("boot", 1100 * NANOS, 150 * NANOS);
        assert!(!mark.is_before(at(999)) && !mark.is_before(at(1000)) && mark.is_before(at(1001)));
    }

    #[test]
    fn a_clock_set_back_moves_the_mark_back() {
        // 100 s passed since launch, but the wall clock lost an hour meanwhile.
        let mark = baseline().mark_at("boot", (1100 - 3600) * NANOS, 150 * NANOS);
        assert!(mark.is_before(at(1100 - 3600)), "changed after the jump");
        assert!(!mark.is_before(at(1000 - 3601)), "older than the jump reaches");
    }

    #[test]
    fn a_clock_behind_the_launch_after_a_reboot_trusts_nothing() {
        let mark = baseline().mark_at("other boot", 500 * NANOS, 10 * NANOS);
        assert!(mark.is_before(at(-5)));
        let mark = baseline().mark_at("other boot", 2000 * NANOS, 10 * NANOS);
        assert!(!mark.is_before(at(1000)) && mark.is_before(at(1500)));
    }

    #[test]
    fn whole_seconds_are_coarse_and_count_from_the_same_second() {
        let coarse = Baseline {
            stamp: Time { sec: 1000, nsec: 0 },
            ..baseline()
        };
        let mark = coarse.mark_at("boot", 1100 * NANOS, 150 * NANOS);
        assert!(mark.is_before(Time { sec: 1000, nsec: 0 }));
    }
}
