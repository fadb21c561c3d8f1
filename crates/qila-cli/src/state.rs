//! The state of each run: a directory under `$QILA_HOME/runs`, locked for as long as somebody looks after it.
use crate::fail::Fail;
use crate::home::Home;
use crate::spare;
use qila_types::{RunId, Tier};
use qila_workspace::{RunError, RunLayer, remove_tree};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, mkdirat, openat, renameat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is known of a run besides its evidence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Its id.
    pub run: RunId,
    /// When it was started, Unix milliseconds.
    pub started_ms: u64,
    /// Process id of its launcher.
    pub pid: u32,
    /// Tier.
    pub tier: Tier,
    /// Policy as it was named.
    pub policy: String,
    /// Command and arguments, lossily as text.
    pub command: Vec<String>,
    /// Workspace on the host.
    pub workspace: Option<String>,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Cgroups that it made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cgroups: Vec<String>,
    /// Credentials that its gateway held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<String>,
}

/// What is in the layer of a run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing: nothing is kept.
    Nothing,
    /// So many paths that differ from the workspace.
    Changes(u64),
    /// It cannot be told.
    Unknown,
}

const PRIVATE: Mode = Mode::RWXU;
/// Largest `meta.json`.
const MAX_META: usize = 1 << 20;

/// One run's directory, open.
#[derive(Debug)]
pub(crate) struct RunDir {
    /// The run.
    pub id: RunId,
    path: PathBuf,
    dir: OwnedFd,
}

impl RunDir {
    /// Makes the directory of a new run and takes its lock.
    pub(crate) fn create(home: &Home, id: RunId) -> Result<RunDir, Fail> {
        home.subdir("runs")?;
        let path = home.path().join("runs").join(id.as_str());
        let fail = |e: Errno| {
            Fail::io("making the run's directory", &path, e.into())
                .hint("free some space, or set QILA_HOME elsewhere")
        };
        let name = format!("runs/{id}");
        if let Some(dir) = spare::take(home.dir(), &name) {
            return Ok(RunDir { id, path, dir });
        }
        mkdirat(home.dir(), name.as_str(), PRIVATE).map_err(fail)?;
        let dir = open_dir(home.dir(), &name).map_err(fail)?;
        flock(&dir, FlockOperation::NonBlockingLockExclusive).map_err(fail)?;
        Ok(RunDir { id, path, dir })
    }

    /// Opens the directory of a run.
    pub(crate) fn open(home: &Home, id: &RunId) -> Result<RunDir, Errno> {
        let dir = open_dir(home.dir(), &format!("runs/{id}"))?;
        Ok(RunDir {
            id: id.clone(),
            path: home.path().join("runs").join(id.as_str()),
            dir,
        })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Time since the directory was last changed; none if the clock was set back since.
    pub(crate) fn age(&self) -> Option<std::time::Duration> {
        std::fs::metadata(&self.path)
            .ok()?
            .modified()
            .ok()?
            .elapsed()
            .ok()
    }

    /// The workspace of the run, open; none if it had none.
    pub(crate) fn workspace(&self) -> Result<Option<OwnedFd>, Errno> {
        let Some(path) = self.meta().and_then(|m| m.workspace) else {
            return Ok(None);
        };
        open_dir(rustix::fs::CWD, &path).map(Some)
    }

    /// What the agent left in its layer.
    pub(crate) fn left(&self) -> Left {
        let Ok(Some(workspace)) = self.workspace() else {
            return if exists(self.dir(), "layer") {
                Left::Unknown
            } else {
                Left::Nothing
            };
        };
        match RunLayer::open(&self.dir, workspace).map(|layer| layer.changes()) {
            Err(RunError::NoLayer | RunError::Discarded) => Left::Nothing,
            Ok(Ok(changes)) => match changes.entries.len().saturating_add(changes.skipped.len()) {
                0 => Left::Nothing,
                n => Left::Changes(n as u64),
            },
            Ok(Err(_)) | Err(_) => Left::Unknown,
        }
    }

    /// Whether the agent left anything in its layer. What cannot be told counts as something: it is kept.
    pub(crate) fn holds_changes(&self) -> bool {
        self.left() != Left::Nothing
    }

    /// Whether somebody still looks after the run. Takes the lock if not.
    pub(crate) fn is_running(&self) -> bool {
        match flock(&self.dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => false,
            Err(_) => true,
        }
    }

    /// Writes what is known of the run, whole or not at all. A run that has ended has its layer written out first: overlayfs
    /// was told not to.
    pub(crate) fn write_meta(&self, meta: &Meta) -> Result<(), Fail> {
        let fail = |e: std::io::Error| Fail::io("writing", &self.path.join("meta.json"), e);
        if meta.ended.is_some() && exists(self.dir(), "layer") {
            rustix::fs::syncfs(&self.dir).map_err(|e| {
                Fail::io("writing the workspace layer out to", &self.path, e.into()).hint("free some space")
            })?;
        }
        let text = serde_json::to_vec(meta).map_err(|e| fail(e.into()))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd =
            openat(&self.dir, "meta.new", flags, Mode::from_raw_mode(0o600)).map_err(|e| fail(e.into()))?;
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let n = rustix::io::write(&fd, rest).map_err(|e| fail(e.into()))?;
            rest = rest.get(n..).unwrap_or(&[]);
        }
        renameat(&self.dir, "meta.new", &self.dir, "meta.json").map_err(|e| fail(e.into()))
    }

    /// Writes a file, whole or not at all.
    pub(crate) fn put(&self, name: &str, text: &[u8]) -> Result<(), Fail> {
        let fail = |e: Errno| Fail::io("writing", &self.path.join(name), e.into());
        let new = format!("{name}.new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = openat(&self.dir, new.as_str(), flags, Mode::from_raw_mode(0o600)).map_err(fail)?;
        let mut rest = text;
        while !rest.is_empty() {
            let n = rustix::io::write(&fd, rest).map_err(fail)?;
            rest = rest.get(n..).unwrap_or(&[]);
        }
        renameat(&self.dir, new.as_str(), &self.dir, name).map_err(fail)
    }

    /// Reads a file of at most so many bytes, and who wrote it.
    pub(crate) fn get(&self, name: &str, most: u64) -> Option<(Vec<u8>, u32)> {
        use std::io::Read;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd = openat(&self.dir, name, flags, Mode::empty()).ok()?;
        let uid = rustix::fs::fstat(&fd).ok()?.st_uid;
        let mut text = Vec::new();
        std::fs::File::from(fd).take(most).read_to_end(&mut text).ok()?;
        Some((text, uid))
    }

    /// Removes a file, if it is there.
    pub(crate) fn forget(&self, name: &str) {
        let _ = rustix::fs::unlinkat(&self.dir, name, rustix::fs::AtFlags::empty());
    }

    /// Reads what is known of the run.
    pub(crate) fn meta(&self) -> Option<Meta> {
        use std::io::Read;
        let fd = openat(
            &self.dir,
            "meta.json",
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .ok()?;
        let mut text = Vec::new();
        std::fs::File::from(fd)
            .take(u64::try_from(MAX_META).ok()?)
            .read_to_end(&mut text)
            .ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Does what the last run left for later. Best while the sandbox builds itself.
    pub(crate) fn tidy(&self) {
        spare::tidy(self.dir());
    }

    /// Removes the run's directory with all that is in it, or keeps it, emptied, for the next run.
    pub(crate) fn remove(&self, home: &Home) -> Result<(), Fail> {
        if spare::give(home.dir(), &format!("runs/{}", self.id), self.dir()) {
            return Ok(());
        }
        let fail = |e: &dyn std::fmt::Display| Fail::new(format!("removing {}: {e}", self.path.display()));
        let runs = open_dir(home.dir(), "runs").map_err(|e| fail(&e))?;
        remove_tree(runs, std::ffi::OsStr::new(self.id.as_str()))
            .map(drop)
            .map_err(|e| fail(&e))
    }
}

fn exists(at: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(at, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn open_dir(at: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    openat(
        at,
        name,
        OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
}

/// Every run that has a directory, oldest first.
pub(crate) fn list(home: &Home) -> Vec<RunDir> {
    let Ok(entries) = std::fs::read_dir(home.path().join("runs")) else {
        return Vec::new();
    };
    let mut ids: Vec<RunId> = entries
        .flatten()
        .filter_map(|e| RunId::parse(e.file_name().to_str()?).ok())
        .collect();
    ids.sort();
    ids.iter().filter_map(|id| RunDir::open(home, id).ok()).collect()
}

/// The one run whose id starts with the text, or the `latest`.
pub(crate) fn find(home: &Home, text: &str) -> Result<RunDir, Fail> {
    let mut found: Vec<RunDir> = list(home)
        .into_iter()
        .filter(|r| text == "latest" || r.id.as_str().starts_with(text))
        .collect();
    if text == "latest" {
        found = found.pop().into_iter().collect();
    }
    match (found.pop(), found.is_empty()) {
        (Some(run), true) if !text.is_empty() => Ok(run),
        (Some(_), _) => Err(Fail::new(format!("`{text}` is the beginning of several runs")).hint("give more of the id; see `qila ps -a`")),
        (None, _) => Err(Fail::new(format!("there is no run `{}`", text.escape_default()))
            .hint("see `qila ps -a`; a run that changed nothing keeps no state, but `qila log` has its evidence")),
    }
}
