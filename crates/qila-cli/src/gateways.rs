//! The directories of gateways that run alone, each locked for as long as its gateway lives; what one that was killed has left is
//! taken back by whichever `qila` is started next.
use crate::fail::Fail;
use crate::home::Home;
use crate::run::evidence::Evidence;
use crate::{budgets, leases};
use qila_types::RunId;
use qila_workspace::remove_tree;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

const NAME: &str = "gateways";
const META: &str = "meta.json";
/// Age from which a directory without a description is one that was left, not one being made.
const SETTLED: Duration = Duration::from_secs(10);
const FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is known of one.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    /// Credentials that it holds.
    leases: Vec<String>,
}

/// The directory of a gateway that lives.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    _lock: OwnedFd,
}

impl Place {
    /// Makes one, and takes its lock.
    pub(crate) fn make(home: &Home, id: &RunId, held: Vec<String>) -> Result<Place, Fail> {
        home.subdir(NAME)?;
        home.subdir(&format!("{NAME}/{id}"))?;
        let path = home.path().join(NAME).join(id.as_str());
        let fail = |e: std::io::Error| Fail::io("making", &path, e);
        let lock = openat(home.dir(), format!("{NAME}/{id}").as_str(), FLAGS, Mode::empty());
        let lock = lock.map_err(|e| fail(e.into()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| fail(e.into()))?;
        let text = serde_json::to_vec(&Meta { leases: held }).map_err(|e| fail(e.into()))?;
        std::fs::write(path.join(META), text).map_err(fail)?;
        Ok(Place { path, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes back what gateways that were killed have left.
pub(crate) fn sweep(home: &Home) -> Result<(), Fail> {
    let fail = |e: Errno| Fail::io("reading", &home.path().join(NAME), e.into());
    let all = match openat(home.dir(), NAME, FLAGS, Mode::empty()) {
        Ok(all) => all,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(fail(e)),
    };
    let entries = std::fs::read_dir(home.path().join(NAME))
        .into_iter()
        .flatten()
        .flatten();
    for id in entries.filter_map(|e| RunId::parse(e.file_name().to_str()?).ok()) {
        let Ok(dir) = openat(&all, id.as_str(), FLAGS, Mode::empty()) else {
            continue; // it has just ended
        };
        if flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            reclaim(home, &all, &id)?;
        }
    }
    Ok(())
}

fn reclaim(home: &Home, all: &OwnedFd, id: &RunId) -> Result<(), Fail> {
    let path = home.path().join(NAME).join(id.as_str());
    let meta = std::fs::read(path.join(META)).ok();
    let meta = meta.and_then(|text| serde_json::from_slice::<Meta>(&text).ok());
    let age = || std::fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok();
    match meta {
        Some(Meta { leases: held }) => {
            budgets::fold(home, id)?;
            // The others are their providers' to take back, which is recorded when they have.
            let remembered = leases::remembered(home, id)?;
            let ended: Vec<String> = held
                .into_iter()
                .filter(|name| !remembered.contains(name))
                .collect();
            let found = vec![format!("the directory {}", path.display())];
            let recorded = Evidence::of(home, id).gateway_orphaned(&ended, found);
            recorded.map_err(|fail| fail.prefix(&format!("gateway {id} was left behind, and ")))?;
        }
        None if age().is_some_and(|age| age > SETTLED) => {}
        None => return Ok(()),
    }
    let all = rustix::io::fcntl_dupfd_cloexec(all, 3).map_err(|e| Fail::io("removing", &path, e.into()))?;
    let removed = remove_tree(all, std::ffi::OsStr::new(id.as_str()));
    removed
        .map(drop)
        .map_err(|e| Fail::new(format!("removing {}: {e}", path.display())))
}
