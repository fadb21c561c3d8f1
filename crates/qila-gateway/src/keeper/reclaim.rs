//! What runs that crashed have left at providers: found by whoever starts next, taken back, and told.
use super::book::Book;
use super::mint::{now, revoke};
use super::send::Ways;
use crate::config::Upstream;
use crate::dial::Dialler;
use crate::tls::Outward;
use qila_lease::journal::{Outstanding, Record, State};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::task::LocalSet;

/// Why something was not taken back that a provider was asked for.
pub(super) const UNKNOWN: &str = "the provider was asked for it, and what it answered is not known: it lasts for as long as the provider lets it";

/// Time between two tries, in seconds.
const PAUSE: u64 = 60;

/// What became of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The credential's name.
    pub credential: String,
    /// Why it was not taken back.
    pub why: Option<String>,
}

/// Names of the journals in a directory: those of runs that go on among them.
pub fn journals(dir: BorrowedFd<'_>) -> Result<Vec<String>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::new(openat(dir, ".", flags, Mode::empty())?)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && !name.starts_with("refresh-") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Credentials that a run's journal names; none if it has no journal.
pub fn named(dir: BorrowedFd<'_>, run: &str) -> Result<Option<BTreeSet<String>>, String> {
    let state = Book::look(dir, run).map_err(|e| e.to_string())?;
    Ok(state.map(|s| s.credentials))
}

/// Whether there is anything to be done about a run's leases now: nobody works on them, and they were not tried just before.
pub fn is_due(dir: BorrowedFd<'_>, run: &str) -> Result<bool, String> {
    let open = Book::open(dir, run).map_err(|e| e.to_string())?;
    let due = |state: State| {
        state
            .tried
            .is_none_or(|t| t.saturating_add(PAUSE) <= now() || t > now())
    };
    Ok(open.is_some_and(|(_, state)| due(state)))
}

/// Takes back what a run has left. What became of it is said before it is forgotten. None: somebody else is at it.
pub fn take_back(
    dir: BorrowedFd<'_>,
    run: &str,
    mut say: impl FnMut(&[Outcome]) -> Result<(), String>,
) -> Result<Option<Vec<Outcome>>, String> {
    let Some((book, state)) = Book::open(dir.as_fd(), run).map_err(|e| e.to_string())? else {
        return Ok(None);
    };
    let mut outcomes: Vec<Outcome> = (state.unsaid.iter())
        .map(|credential| Outcome {
            credential: credential.clone(),
            why: None,
        })
        .collect();
    let done = all(&state)?;
    let mut over = Vec::new();
    for (lease, done) in state.open.iter().zip(done) {
        // Of what is not known nothing more will be learnt.
        if done.is_ok() || lease.until.is_none() {
            over.push(lease.id);
        }
        outcomes.push(Outcome {
            credential: lease.credential.clone(),
            why: done.err(),
        });
    }
    say(&outcomes)?;
    let write = |record| book.write(&record).map_err(|e| e.to_string());
    write(Record::Tried { at: now() })?;
    let nothing = over.len() == state.open.len();
    for id in over {
        write(Record::Over { id })?;
    }
    if nothing {
        book.remove().map_err(|e| e.to_string())?;
    }
    Ok(Some(outcomes))
}

/// Tries each, side by side.
fn all(state: &State) -> Result<Vec<Result<(), String>>, String> {
    if state.open.is_empty() {
        return Ok(Vec::new());
    }
    let upstreams: Result<Vec<Upstream>, _> = state.upstreams.iter().map(|u| u.parse()).collect();
    let authorities: Vec<PathBuf> = state.authorities.iter().map(PathBuf::from).collect();
    let ways = std::rc::Rc::new(Ways {
        dialler: Dialler::new(upstreams.map_err(|e| e.to_string())?),
        outward: Outward::new(&authorities)?,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    LocalSet::new().block_on(&runtime, async {
        let each = state.open.iter().cloned().map(|lease| {
            let ways = ways.clone();
            tokio::task::spawn_local(async move { one(&ways, &lease).await })
        });
        let each: Vec<_> = each.collect();
        let mut out = Vec::with_capacity(each.len());
        for lease in each {
            out.push(lease.await.unwrap_or_else(|e| Err(e.to_string())));
        }
        Ok(out)
    })
}

async fn one(ways: &Ways, lease: &Outstanding) -> Result<(), String> {
    match (&lease.revocation, lease.until) {
        (Some(revocation), Some(until)) => revoke(ways, revocation, until).await,
        (None, Some(_)) => Ok(()), // this provider has no way to take it back
        (_, None) => Err(UNKNOWN.into()),
    }
}
