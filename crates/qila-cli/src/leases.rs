//! What providers have minted for runs, remembered under `$QILA_HOME/leases` until it is taken back: what a run that crashed has
//! left is taken back by whichever `qila` is started next, beside its own work.
use crate::fail::Fail;
use crate::home::Home;
use crate::run::evidence::Evidence;
use qila_gateway::{Leases, Outcome};
use qila_policy::Policy;
use qila_sys::exec::close_all_but;
use qila_sys::fork::{Fork, Namespaces, exit_now, fork};
use qila_types::{EventKind, RunId};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open, openat};
use rustix::io::Errno;
use std::collections::BTreeSet;

const NAME: &str = "leases";

/// Where it is remembered what is minted for a run; none if nothing will be.
pub(crate) fn place(home: &Home, run: &RunId, policy: &Policy) -> Result<Option<Leases>, Fail> {
    if !policy.credentials.iter().any(|c| c.source.mints()) {
        return Ok(None);
    }
    home.subdir(NAME)?;
    Ok(Some(Leases {
        dir: home.path().join(NAME),
        run: run.to_string(),
    }))
}

fn directory(home: &Home) -> Result<Option<OwnedFd>, Fail> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(home.dir(), NAME, flags, Mode::empty()) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(Fail::io("opening", &home.path().join(NAME), e.into())),
    }
}

fn damaged(home: &Home, run: &str, why: &str) -> Fail {
    let path = home.path().join(NAME).join(run);
    Fail::new(format!(
        "what run {run} has left at providers is not known: {why}"
    ))
    .hint(format!(
        "revoke its credentials by hand, then remove {}",
        path.display()
    ))
}

/// Credentials of a run of which its journal tells what became of them.
pub(crate) fn remembered(home: &Home, run: &RunId) -> Result<BTreeSet<String>, Fail> {
    let Some(dir) = directory(home)? else {
        return Ok(BTreeSet::new());
    };
    match qila_gateway::named(dir.as_fd(), run.as_str()) {
        Ok(names) => Ok(names.unwrap_or_default()),
        Err(why) => Err(damaged(home, run.as_str(), &why)),
    }
}

/// Sets a process to work on what runs have left, if any has.
pub(crate) fn sweep(home: &Home) -> Result<(), Fail> {
    let Some(dir) = directory(home)? else {
        return Ok(());
    };
    let all = qila_gateway::journals(dir.as_fd());
    let all = all.map_err(|e| Fail::io("reading", &home.path().join(NAME), e.into()))?;
    let mut due = Vec::new();
    for run in all {
        match qila_gateway::is_due(dir.as_fd(), &run) {
            Ok(false) => {}
            Ok(true) => due.extend(RunId::parse(&run).ok()),
            // Nothing that begins now is the worse for it.
            Err(why) => {
                eprintln!("qila: {}", damaged(home, &run, &why));
            }
        }
    }
    drop(dir);
    if due.is_empty() {
        return Ok(());
    }
    match fork(Namespaces::NONE).map_err(|e| Fail::new(format!("revoking what runs have left: {e}")))? {
        Fork::Parent { .. } => Ok(()),
        Fork::Child => {
            let done = alone(home).is_ok() && due.iter().all(|run| take_back(home, run).is_ok());
            exit_now(i32::from(!done))
        }
    }
}

/// Nothing of the caller's is held open, and no signal of its terminal's is heard.
fn alone(home: &Home) -> Result<(), Errno> {
    rustix::process::setsid()?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    std::mem::forget(null); // closed with all others in a moment
    close_all_but(home.dir())
}

/// Takes back what one run has left, and records what became of it. None: somebody is at it.
pub(crate) fn take_back(home: &Home, run: &RunId) -> Result<Option<Vec<Outcome>>, Fail> {
    let Some(dir) = directory(home)? else {
        return Ok(None);
    };
    let mut evidence = Evidence::of(home, run);
    let said = qila_gateway::take_back(dir.as_fd(), run.as_str(), |outcomes| {
        let kinds = outcomes.iter().cloned().map(event).collect();
        evidence.record(kinds).map_err(|fail| fail.to_string())
    });
    said.map_err(|why| Fail::new(format!("revoking what run {run} has left: {why}")))
}

fn event(of: Outcome) -> EventKind {
    let credential = of.credential;
    match of.why {
        None => EventKind::LeaseRevoked { credential },
        Some(reason) => EventKind::LeaseUnrevoked { credential, reason },
    }
}

/// The run whose id starts with the text, if it is one that has left something.
pub(crate) fn find(home: &Home, text: &str) -> Result<Option<RunId>, Fail> {
    let Some(dir) = directory(home)? else {
        return Ok(None);
    };
    let all = qila_gateway::journals(dir.as_fd());
    let all = all.map_err(|e| Fail::io("reading", &home.path().join(NAME), e.into()))?;
    let mut found = all.iter().filter(|run| run.starts_with(text));
    Ok(match (found.next(), found.next()) {
        (Some(run), None) => RunId::parse(run).ok(),
        _ => None,
    })
}
