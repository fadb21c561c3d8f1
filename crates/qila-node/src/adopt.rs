//! What is there from before: sandboxes that outlived a node's process are looked after again, the others are settled.
use crate::core::Core;
use crate::end::{Why, sweep, write_end};
use crate::fault::internal;
use crate::guest;
use crate::ledger::Need;
use crate::live::{Live, born};
use crate::record::{Phase, Record};
use crate::told::Told;
use qila_api::Result;
use qila_sandbox::sweep_cgroup;
use qila_store::Kind;
use qila_types::{EventKind, RunId, Usage};
use qila_wire::served::Ask;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a guest may take to answer before it counts as lost.
const ANSWER: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Sandboxes that go on.
    pub adopted: usize,
    /// Sandboxes that had ended meanwhile, and are settled.
    pub settled: usize,
    /// What was half made, or half gone, and is no more.
    pub removed: usize,
}

/// Looks at everything that is there from before.
pub(crate) async fn all(core: &Arc<Core>) -> Result<Found> {
    let mut found = Found::default();
    let records = core
        .store
        .all(Kind::Sandbox)
        .await
        .map_err(|e| crate::fault::store(&e))?;
    let mut known = HashSet::new();
    let mut told = Told::default();
    for document in records {
        known.insert(document.id.clone());
        let record: Record = match serde_json::from_slice(&document.body) {
            Ok(record) => record,
            Err(e) => {
                return Err(internal(
                    &format!("the record of sandbox {} cannot be read", document.id),
                    &e,
                ));
            }
        };
        told.created(core, &record).await?;
        match adopt(core, &record).await? {
            true => found.adopted += 1,
            false => {
                settle(core, &record, &mut told).await?;
                found.settled += 1;
            }
        }
    }
    crate::warm::take_up(core).await?;
    found.removed = remove_unknown(core, &known)?;
    core.shares.tidy();
    crate::layers::all_known(core).await;
    Ok(found)
}

/// Its first process, if it is still there.
fn first(record: &Record) -> Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(record.pid) else {
        return Ok(None);
    };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(None);
    };
    // The number may be another's by now; what the descriptor names is looked at after it was had.
    let since = born(record.pid).map_err(|e| internal("looking at a sandbox's process", &e))?;
    Ok((since == Some(record.born)).then_some(pidfd))
}

/// Looks after a sandbox again. False: it is gone.
async fn adopt(core: &Arc<Core>, record: &Record) -> Result<bool> {
    let Some(pidfd) = first(record)? else {
        return Ok(false);
    };
    let Ok(dir) = core.home.open_sandbox(record.id.as_str()) else {
        return Ok(false);
    };
    let mut record = record.clone();
    if record.moving.is_some() {
        // Whoever was told to move it is killed by nobody.
        drop(crate::moving::busy(&dir).await?);
        if !crate::moving::settle(core, &mut record, &dir)? {
            eprintln!("qila: sandbox {} is lost: it has no home", record.id);
            return Ok(false);
        }
        let text = serde_json::to_vec(&record).map_err(|e| internal("a sandbox's record", &e))?;
        let put = core
            .store
            .put(Kind::Sandbox, record.id.as_str(), &record.tenant, text);
        put.await.map_err(|e| crate::fault::store(&e))?;
    }
    let need = Need {
        cpu_milli: record.cpu_milli.into(),
        memory_mib: record.memory_mib,
        disk_mib: record.disk_mib,
    };
    let held = core.ledger.count(&record.tenant, need);
    let share = core
        .shares
        .take(&record.housed, core.quotas.quota(&record.housed).weight)?;
    let live = Live::new(record.clone(), dir, pidfd, held, share);
    // One that was being frozen or thawed is brought to where its record says it is.
    match record.phase {
        Phase::Paused => crate::freeze::freeze(&live).await?,
        Phase::Running => {
            crate::freeze::thaw(&record.cgroup);
            let asked = tokio::time::timeout(ANSWER, guest::request(&live.dir, &Ask::Programs)).await;
            let why = match asked {
                Ok(Ok(_)) => None,
                Ok(Err(e)) => Some(e.to_string()),
                Err(_) => Some("no answer in time".to_owned()),
            };
            if let Some(why) = why {
                eprintln!("qila: sandbox {} is lost: its guest: {why}", record.id);
                return Ok(false);
            }
        }
    }
    if record.networked {
        // One that stands still is asked when it goes on.
        if record.phase == Phase::Running {
            watch_network(core, &live).await?;
        }
    }
    core.insert(live.clone());
    crate::watch::guard(core, &live);
    if record.pooled && !record.zygote {
        // Whether it was made ready is not known: another is made. Layers are swept when all that lie on them are known.
        crate::end::end(core, &live, Why::Killed).await?;
    }
    Ok(true)
}

/// Begins to look after the network of a sandbox that was found again. One whose template has changed meanwhile is under rules
/// that nobody has any more: nothing leaves it.
pub(crate) async fn watch_network(core: &Arc<Core>, live: &Arc<Live>) -> Result<()> {
    let record = live.record();
    let prepared = match core.template(&record.tenant, &record.template) {
        Ok(prepared) if prepared.digest == record.policy_digest => prepared,
        _ => {
            eprintln!(
                "qila: sandbox {} has no network any more: its template has changed",
                record.id
            );
            return Ok(());
        }
    };
    let permit = prepared.permit(&record.network)?;
    let listeners = crate::outside::listeners(live).await?;
    crate::outside::look_after(core, live, listeners, &prepared, &permit);
    Ok(())
}

/// Takes back what providers minted for sandboxes that are gone, beside everything else.
pub(crate) fn leases(core: &Arc<Core>) {
    let core = core.clone();
    tokio::task::spawn_blocking(move || {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(dir) = openat(rustix::fs::CWD, core.state.join("leases"), flags, Mode::empty()) else {
            return; // nothing was ever minted
        };
        for run in qila_gateway::journals(dir.as_fd()).unwrap_or_default() {
            if qila_gateway::is_due(dir.as_fd(), &run) != Ok(true) {
                continue;
            }
            let Ok(id) = qila_api::SandboxId::parse(&run) else {
                continue;
            };
            let said = qila_gateway::take_back(dir.as_fd(), &run, |outcomes| {
                let kinds = outcomes.iter().cloned().map(outcome).collect();
                core.block_on(core.evidence.record(&id, kinds))
                    .map_err(|e| e.message)
            });
            if let Err(why) = said {
                eprintln!("qila: revoking what sandbox {run} has left: {why}");
            }
        }
    });
}

fn outcome(of: qila_gateway::Outcome) -> EventKind {
    let credential = of.credential;
    match of.why {
        None => EventKind::LeaseRevoked { credential },
        Some(reason) => EventKind::LeaseUnrevoked { credential, reason },
    }
}

/// Settles a sandbox that is gone: its end is recorded, and nothing of it is left.
async fn settle(core: &Arc<Core>, record: &Record, told: &mut Told) -> Result<()> {
    if let Some(pidfd) = first(record)? {
        crate::freeze::thaw(&record.cgroup);
        let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
    }
    let cgroup = record.cgroup.clone();
    tokio::task::spawn_blocking(move || sweep(&cgroup))
        .await
        .map_err(|e| internal("settling a sandbox", &e))??;
    let run = RunId::parse(record.id.as_str()).map_err(|e| internal("naming a run", &e))?;
    qila_gateway::fold_accounts(&core.state.join("budgets"), &run)
        .map_err(|e| internal("settling accounts", &e))?;
    if !told.ended(core, record).await? {
        write_end(core, record, &Why::Lost, Usage::default()).await?;
    }
    let found = vec![format!("the directory of sandbox {}", record.id)];
    core.evidence
        .record(&record.id, vec![EventKind::Reclaimed { found }])
        .await?;
    core.remove_dir(record.id.as_str());
    core.store
        .remove(Kind::Sandbox, record.id.as_str())
        .await
        .map_err(|e| crate::fault::store(&e))
        .map(drop)
}

/// Removes directories without a record: of what was being made, or was gone but for its directory. A process of such a sandbox
/// dies with the process that was making it.
fn remove_unknown(core: &Core, known: &HashSet<String>) -> Result<usize> {
    let entries = std::fs::read_dir(core.home.path.join(crate::home::SANDBOXES))
        .map_err(|e| internal("looking for sandboxes", &e))?;
    let mut removed = 0;
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if known.contains(&name) {
            continue;
        }
        for parent in core.shares.parents() {
            let path = parent.join(format!("qila-{name}"));
            if path.exists() {
                sweep_cgroup(&path).map_err(|e| internal("removing a cgroup", &e))?;
            }
        }
        core.remove_dir(&name);
        removed += 1;
    }
    Ok(removed)
}
