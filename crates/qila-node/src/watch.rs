//! Looking after sandboxes: their time, their memory, what they write, and whether they are still there.
use crate::clock::now_ms;
use crate::core::Core;
use crate::end::{Why, end, end_if};
use crate::live::Live;
use crate::record::{Phase, Record};
use qila_api::OnTimeout;
use qila_plan::CgroupPlan;
use qila_sandbox::counters;
use qila_types::{Bytes, Millis};
use qila_workspace::Room;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Time between two looks at clocks.
const TICK: Duration = Duration::from_millis(50);
/// Looks after which every sandbox was looked at for what it uses: a part of them at each.
const ROUND: usize = 60;
/// Time after which a layer in use is walked, whatever the disk says.
const WALK: Duration = Duration::from_secs(2);

/// What is known of a layer's size.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Bytes when it was last walked.
    pub used: u64,
    /// What the file system had free then.
    free: Room,
    walked: Option<Instant>,
    /// Processor time when that was last asked for, in microseconds.
    cpu: Option<u64>,
}

/// Ends the sandbox when its first process is gone.
pub(crate) fn guard(core: &Arc<Core>, live: &Arc<Live>) {
    let (core, weak) = (core.clone(), Arc::downgrade(live));
    let pidfd = crate::ready::readable(&live.pidfd);
    tokio::spawn(async move {
        let fd = match pidfd {
            Ok(fd) => fd,
            // One whose end nobody would see is not left alone.
            Err(e) => {
                eprintln!("qila: watching a sandbox: {e}");
                return died(&core, &weak).await;
            }
        };
        let gone = fd.readable().await.map(drop);
        drop(fd);
        if gone.is_ok() {
            died(&core, &weak).await;
        }
    });
}

async fn died(core: &Arc<Core>, live: &Weak<Live>) {
    let Some(live) = live.upgrade() else { return };
    let counted = counters(&live.look(|r| r.cgroup.clone()));
    let why = match counted.killed_for_memory {
        0 => Why::Died,
        _ => memory(&live),
    };
    report(end(core, &live, why).await.map(drop));
}

fn memory(live: &Live) -> Why {
    Why::Limit {
        clause: "resources.memory",
        limit: Bytes(live.look(|r| r.memory_mib) << 20).to_string(),
    }
}

fn report(done: qila_api::Result<()>) {
    if let Err(e) = done {
        eprintln!("qila: looking after sandboxes: {e}");
    }
}

/// Looks after all sandboxes for as long as the node is there.
pub(crate) async fn watch(core: Weak<Core>) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut turn = 0usize;
    loop {
        clock.tick().await;
        let Some(core) = core.upgrade() else { return };
        let now = now_ms();
        // What cannot be asked has nothing left: every layer is walked.
        let free = Room::of(&core.home.sandboxes).unwrap_or_default();
        for (at, live) in core.all().into_iter().enumerate() {
            let (ends, pooled, running) = live.look(|r| (r.ends_ms, r.pooled, r.phase == Phase::Running));
            if !pooled && now >= ends {
                expire(&core, &live, now);
                continue;
            }
            if running && at % ROUND == turn % ROUND {
                look(&core, &live);
            }
            if running && disk_is_due(&live, free) {
                let mut disk = live.disk.lock().unwrap_or_else(PoisonError::into_inner);
                (disk.walked, disk.free) = (Some(Instant::now()), free);
                drop(disk);
                let core = core.clone();
                tokio::task::spawn_blocking(move || walk(&core, &live));
            }
        }
        turn = turn.wrapping_add(1);
    }
}

/// Its time is over.
fn expire(core: &Arc<Core>, live: &Arc<Live>, now: u64) {
    let (what, phase, made, longest) = live.look(|r| (r.on_timeout, r.phase, r.made_ms, r.longest_ms));
    let over = longest.is_some_and(|l| now >= made.saturating_add(l));
    if (phase == Phase::Paused && !over) || live.expiring.swap(true, Ordering::SeqCst) {
        return;
    }
    let (core, live) = (core.clone(), live.clone());
    tokio::spawn(async move {
        let done = match what {
            _ if over => {
                let limit = Millis(longest.unwrap_or(0)).to_string();
                let clause = "resources.wall_time";
                end(&core, &live, Why::Limit { clause, limit }).await.map(drop)
            }
            OnTimeout::Pause => match crate::lifecycle::pause(&core, &live, true).await {
                Err(_) if live.is_ending() => Ok(()),
                other => other.map(drop),
            },
            OnTimeout::Kill => {
                // Somebody may have given it more time meanwhile.
                let is_over = |r: &Record| r.phase == Phase::Running && now_ms() >= r.ends_ms;
                end_if(&core, &live, Why::Timeout, is_over).await.map(drop)
            }
        };
        report(done);
        live.expiring.store(false, Ordering::SeqCst);
    });
}

/// Whether something in it was killed for memory.
fn look(core: &Arc<Core>, live: &Arc<Live>) {
    let cgroup = live.look(|r| r.cgroup.clone());
    if cgroup.oom.is_some() {
        let killed = counters(&cgroup).killed_for_memory;
        if killed > live.oom.swap(killed, Ordering::Relaxed) {
            let (core, live) = (core.clone(), live.clone());
            let (tenant, pooled) = live.look(|r| (r.tenant.clone(), r.pooled));
            tokio::spawn(async move {
                if !pooled {
                    report(
                        core.tell(&tenant, &live.id, "limit", &[("clause", "resources.memory")])
                            .await,
                    );
                }
            });
        }
    }
}

/// Processor time of everything in a cgroup so far, in microseconds; none where that is not counted.
pub(crate) fn cpu_us(plan: &CgroupPlan) -> Option<u64> {
    for dir in &plan.directories {
        if let Ok(text) = std::fs::read_to_string(format!("{dir}/cpuacct.usage")) {
            return text.trim().parse::<u64>().ok().map(|ns| ns / 1000);
        }
        if let Ok(text) = std::fs::read_to_string(format!("{dir}/cpu.stat"))
            && let Some(us) = text.lines().find_map(|l| l.strip_prefix("usage_usec "))
        {
            return us.trim().parse().ok();
        }
    }
    None
}

/// Whether a layer has to be walked: the disk has lost a good part of what was left to it, or some time has passed in which
/// the disk has lost anything at all.
fn disk_is_due(live: &Live, free: Room) -> bool {
    let Some(limit) = live.look(|r| r.layer_limit.filter(|_| r.layered)) else {
        return false;
    };
    let mut disk = live.disk.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(walked) = disk.walked else { return true };
    let lost = free.taken_since(&disk.free);
    if lost >= limit.saturating_sub(disk.used) / 4 {
        return true;
    }
    if (lost == 0 && free.counts_inodes()) || walked.elapsed() < WALK {
        return false;
    }
    // One that has not run since has not written either.
    let now = live.look(|r| cpu_us(&r.cgroup));
    let idle = now.is_some() && now == disk.cpu;
    disk.cpu = now;
    if idle {
        disk.walked = Some(Instant::now());
    }
    !idle
}

/// Adds up what is in a layer, and ends the sandbox if that is too much. What cannot be measured is too much.
fn walk(core: &Arc<Core>, live: &Arc<Live>) {
    let Some(limit) = live.look(|r| r.layer_limit) else {
        return;
    };
    let look = || {
        let opened = rustix::fs::openat(
            &live.dir,
            "layer/upper",
            rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        opened.and_then(|dir| qila_workspace::usage(&dir, Some(limit)))
    };
    let used = look().or_else(|_| {
        // A change that is under way may have taken it away for a moment.
        let _change = core.block_on(live.change.lock());
        look()
    });
    let over = match used {
        Ok(used) => {
            live.disk.lock().unwrap_or_else(PoisonError::into_inner).used = used.charged();
            used.exceeded || used.unreadable > 0
        }
        Err(_) if live.is_ending() => false,
        Err(_) => true,
    };
    if over && !live.is_ending() {
        let why = Why::Limit {
            clause: "resources.disk",
            limit: Bytes(limit).to_string(),
        };
        report(core.block_on(end(core, live, why)).map(drop));
    }
}
