//! A layer on its way: it is written down before it is moved, so that a node that is killed in between loses nothing. The next start
//! sees by the mount that the sandbox has whether the change was made.
use crate::core::Core;
use crate::fault::internal;
use crate::live::Live;
use crate::record::{Moving, Record};
use qila_api::Result;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, AtFlags, FlockOperation, Mode, OFlags, accessat, flock, openat, renameat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

/// The number of what is mounted at a sandbox's home, as proc_pid_mountinfo(5) has it; none: nothing is.
fn mount(record: &Record) -> Result<Option<u64>> {
    let path = format!("/proc/{}/mountinfo", record.pid);
    let text = std::fs::read_to_string(path).map_err(|e| internal("reading a sandbox's mounts", &e))?;
    let home = record.home.replace(' ', "\\040");
    let id = |line: &str| {
        let mut words = line.split(' ');
        let id = words.next()?.parse().ok()?;
        (words.nth(3)? == home).then_some(id)
    };
    Ok(text.lines().filter_map(id).next_back())
}

/// How long a layer may be on its way after the node that moved it was killed.
const MOVING: Duration = Duration::from_secs(30);

/// A lock on a sandbox's directory, for whoever moves its layer: it holds until the last copy of the descriptor is closed, also by
/// the process that goes on with it when everybody else is killed.
pub(crate) async fn busy(dir: impl AsFd) -> Result<OwnedFd> {
    let fail = |e: Errno| internal("waiting for a layer that is moved", &e);
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = openat(dir, ".", flags, Mode::empty()).map_err(fail)?;
    let begun = Instant::now();
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(lock),
            Err(Errno::WOULDBLOCK) if begun.elapsed() < MOVING => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(e) => return Err(fail(e)),
        }
    }
}

/// Writes down that a sandbox's layer is about to be moved to this name, and what the sandbox is to lie on then.
pub(crate) async fn begin(core: &Core, live: &Live, name: &str, lower: Vec<String>) -> Result<()> {
    let mut record = live.record();
    let mount = mount(&record)?.ok_or_else(|| internal("moving a layer", &"its home is not mounted"))?;
    record.moving = Some(Moving {
        name: name.to_owned(),
        mount,
        lower,
    });
    core.save(live, record).await
}

/// Writes down that nothing came of it: the layer is where it was.
pub(crate) async fn forget(core: &Core, live: &Live) -> Result<()> {
    let mut record = live.record();
    record.moving = None;
    core.save(live, record).await
}

/// Brings a change to its end, or back to its beginning, that a node was killed in. False: the sandbox has no home any more.
pub(crate) fn settle(core: &Core, record: &mut Record, dir: impl AsFd) -> Result<bool> {
    let Some(moving) = record.moving.take() else {
        return Ok(true);
    };
    match mount(record)? {
        None => return Ok(false),
        Some(now) if now != moving.mount => {
            record.lower = moving.lower;
            return Ok(true);
        }
        Some(_) => {}
    }
    let fail = |e: Errno| internal("moving a layer back", &e);
    let there = |at: &dyn AsFd, name: &str| match accessat(at, name, Access::EXISTS, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(fail(e)),
    };
    if !there(&core.home.layers, &moving.name)? {
        return Ok(true); // it never left, or is back already
    }
    if there(&dir, "layer")? {
        // The one that was to take its place: nothing has been written to it.
        qila_workspace::remove_tree(&dir, OsStr::new("layer"))
            .map_err(|e| internal("moving a layer back", &e))?;
    }
    renameat(&core.home.layers, moving.name.as_str(), &dir, "layer").map_err(fail)?;
    Ok(true)
}
