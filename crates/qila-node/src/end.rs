//! Taking a sandbox down, once and to the end.
use crate::clock::now_ms;
use crate::core::Core;
use crate::fault::internal;
use crate::live::Live;
use crate::record::Record;
use qila_api::Result;
use qila_plan::CgroupPlan;
use qila_sandbox::{counters, sweep_cgroup};
use qila_store::Kind;
use qila_types::{EventKind, Outcome, StopReason, Usage};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long a killed process may take to be gone.
const DYING: Duration = Duration::from_secs(10);
/// Pauses before the attempts to take one down that could not be.
const AGAIN: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(600),
];

/// Why a sandbox ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// Somebody asked for it.
    Killed,
    /// Its time is over.
    Timeout,
    /// It reached a limit of its policy.
    Limit { clause: &'static str, limit: String },
    /// Its first process is gone.
    Died,
    /// The node could not look after it any more.
    Failed(String),
    /// The node's process was killed, and when it came back the sandbox was gone.
    Lost,
}

impl Why {
    fn word(&self) -> &str {
        match self {
            Why::Killed => "killed",
            Why::Timeout => "timeout",
            Why::Limit { .. } => "limit",
            Why::Died => "died",
            Why::Failed(_) => "failed",
            Why::Lost => "lost",
        }
    }

    fn stop(&self) -> StopReason {
        match self {
            Why::Killed => StopReason::Killed,
            Why::Timeout => StopReason::Finished,
            Why::Limit { clause, limit } => StopReason::Limit {
                clause: (*clause).into(),
                limit: limit.clone(),
            },
            Why::Died | Why::Lost => StopReason::Orphaned,
            Why::Failed(what) => StopReason::FailedClosed { what: what.clone() },
        }
    }
}

/// Takes a sandbox down. False: somebody does already.
pub(crate) async fn end(core: &Arc<Core>, live: &Arc<Live>, why: Why) -> Result<bool> {
    match begin(core, live) {
        true => finish(core, live, why).await.map(|()| true),
        false => Ok(false),
    }
}

/// The same if this still holds when nobody else changes it. False: it does not, or somebody takes it down already.
pub(crate) async fn end_if(
    core: &Arc<Core>,
    live: &Arc<Live>,
    why: Why,
    holds: impl FnOnce(&Record) -> bool,
) -> Result<bool> {
    let change = live.change.lock().await;
    let begun = live.look(holds) && begin(core, live);
    drop(change);
    match begun {
        true => finish(core, live, why).await.map(|()| true),
        false => Ok(false),
    }
}

fn begin(core: &Core, live: &Arc<Live>) -> bool {
    let begun = live.begin_end();
    if begun {
        core.endings.fetch_add(1, Ordering::SeqCst);
        core.let_die(live);
    }
    begun
}

/// Sees to the end of one that nobody finds any more.
async fn finish(core: &Arc<Core>, live: &Arc<Live>, why: Why) -> Result<()> {
    let (core, live) = (core.clone(), live.clone());
    // Whoever asked may go away: what was begun is finished.
    let work = tokio::spawn(async move {
        // Whoever changes it may wait for it: it is killed first.
        if let Err(e) = kill(&live) {
            eprintln!("qila: ending sandbox {}: {e}", live.id);
        }
        let mut written = false;
        let done = take_down(&core, &live, &why, &mut written).await;
        if done.is_ok() {
            core.endings.fetch_sub(1, Ordering::SeqCst);
        } else {
            tokio::spawn(again(core, live, why, written));
        }
        done
    });
    work.await.map_err(|e| internal("ending a sandbox", &e))?
}

/// Tries to take one down that could not be. When all attempts fail, what it has from its tenant's quota and what it lies on stay
/// as they are until the next start.
async fn again(core: Arc<Core>, live: Arc<Live>, why: Why, mut written: bool) {
    for wait in AGAIN {
        tokio::time::sleep(wait).await;
        match take_down(&core, &live, &why, &mut written).await {
            Ok(()) => break,
            Err(e) => eprintln!("qila: ending sandbox {} again: {e}", live.id),
        }
    }
    core.endings.fetch_sub(1, Ordering::SeqCst);
}

/// Kills what is in it. What stands still does not die on every host.
fn kill(live: &Live) -> std::result::Result<(), Errno> {
    let killed = match pidfd_send_signal(&live.pidfd, Signal::KILL) {
        Err(Errno::SRCH) => Ok(()),
        other => other,
    };
    crate::freeze::thaw(&live.look(|r| r.cgroup.clone()));
    killed
}

/// May be repeated. `written`: its end is.
async fn take_down(core: &Arc<Core>, live: &Live, why: &Why, written: &mut bool) -> Result<()> {
    let _change = live.change.lock().await;
    let record = live.record();
    // Again: whoever changed it may have made it stand still meanwhile.
    kill(live).map_err(|e| internal("ending a sandbox", &e))?;
    gone(&live.pidfd).await?;
    // What its network's guard has done is written down before its end.
    let outside = live.outside.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(outside) = outside {
        let _ = outside.stop.send(());
        let _ = outside.task.await;
    }
    let counted = counters(&record.cgroup);
    let cpu = crate::watch::cpu_us(&record.cgroup).unwrap_or(0) / 1000;
    let usage = Usage {
        wall_ms: now_ms().saturating_sub(record.made_ms),
        cpu_ms: cpu,
        peak_memory: counted.peak_memory.unwrap_or(0),
        ..Usage::default()
    };
    if !*written {
        write_end(core, &record, why, usage).await?;
        *written = true;
    }
    let (id, cgroup, again) = (record.id.clone(), record.cgroup.clone(), core.clone());
    let swept = tokio::task::spawn_blocking(move || {
        let swept = sweep(&cgroup);
        again.remove_dir(id.as_str());
        swept
    });
    swept.await.map_err(|e| internal("ending a sandbox", &e))??;
    let removed = core.store.remove(Kind::Sandbox, record.id.as_str()).await;
    removed.map_err(|e| crate::fault::store(&e))?;
    live.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    core.dying
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&live.id);
    crate::layers::sweep(core).await;
    Ok(())
}

/// Waits until a process is gone.
async fn gone(pidfd: &OwnedFd) -> Result<()> {
    let fd = crate::ready::readable(pidfd).map_err(|e| internal("waiting for a sandbox's end", &e))?;
    match tokio::time::timeout(DYING, fd.readable()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(internal("waiting for a sandbox's end", &e)),
        Err(_) => Err(internal("ending a sandbox", &"it does not die")),
    }
}

/// Records the end, for the evidence and for whoever listens.
pub(crate) async fn write_end(core: &Core, record: &Record, why: &Why, usage: Usage) -> Result<()> {
    let mut kinds = Vec::new();
    if *why == Why::Killed {
        kinds.push(EventKind::Kill {
            by_uid: rustix::process::getuid().as_raw(),
        });
    }
    if let Why::Limit { clause, limit } = why {
        kinds.push(EventKind::Limit {
            clause: (*clause).into(),
            limit: limit.clone(),
            stopped: true,
        });
    }
    let held = record.placeholders.iter().filter(|_| !record.mints);
    kinds.extend(held.map(|(credential, _)| EventKind::LeaseRevoked {
        credential: credential.clone(),
    }));
    let outcome = Outcome {
        code: None,
        signal: None,
        reason: why.stop(),
    };
    kinds.push(EventKind::Exit { outcome, usage });
    core.evidence.record(&record.id, kinds).await?;
    if record.pooled {
        return Ok(());
    }
    let mut fields = vec![("reason", why.word())];
    if let Why::Limit { clause, .. } = why {
        fields.push(("clause", clause));
    }
    core.tell(&record.tenant, &record.id, "ended", &fields).await
}

/// Removes the cgroups of a sandbox that has no process any more.
pub(crate) fn sweep(plan: &CgroupPlan) -> Result<()> {
    for path in plan.directories.iter().rev() {
        sweep_cgroup(Path::new(path)).map_err(|e| internal("removing a cgroup", &e))?;
    }
    Ok(())
}
