//! Which mechanism bounds each resource, or why none can.
use crate::capabilities::Capabilities;
use crate::cgroup::CgroupPlan;
use crate::facts::{CgroupFacts, HostFacts};
use crate::plan::{Enforcement, Timers};
use crate::planner::Ledger;
use crate::view::{View, ViewEntry};
use qila_policy::model::{Resources, WorkspaceMode};
use qila_types::Bytes;
use qila_wire::{Accounting, Limit, LimitKind};

/// Time between two samples of memory in milliseconds.
const SAMPLE_MS: u32 = 20;
const GIB: u64 = 1 << 30;

#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub cgroup: CgroupPlan,
    pub each: Vec<Limit>,
    pub cpus: Vec<u32>,
    pub accounting: Option<Accounting>,
    pub layer: Option<Bytes>,
    pub scratch: Option<Bytes>,
    pub by_affinity: bool,
}

/// What each limit is planned from.
#[derive(Clone, Copy)]
struct Ask<'a> {
    wanted: &'a Resources,
    caps: &'a Capabilities,
    facts: &'a HostFacts,
    run: &'a str,
}

/// Default size of the memory-backed file systems where the policy sets none.
const SCRATCH: Bytes = Bytes(GIB);

pub(crate) fn limits(
    wanted: &Resources,
    workspace: WorkspaceMode,
    caps: &Capabilities,
    facts: &HostFacts,
    run: &str,
    ledger: &mut Ledger<'_>,
) -> Limits {
    let ask = Ask {
        wanted,
        caps,
        facts,
        run,
    };
    let mut out = Limits {
        scratch: Some(SCRATCH),
        ..Limits::default()
    };
    // A core dump would carry the agent's memory to wherever the host's core_pattern sends it.
    out.each.push(Limit {
        what: LimitKind::Core,
        value: 0,
    });
    memory(&ask, ledger, &mut out);
    processes(&ask, ledger, &mut out);
    cpu(&ask, ledger, &mut out);
    disk(wanted, workspace, ledger, &mut out);
    disk_io(&ask, ledger, &mut out);
    if let Some(files) = wanted.open_files {
        out.each.push(Limit {
            what: LimitKind::OpenFiles,
            value: files.into(),
        });
        ledger.enforced("resources.open_files", "RLIMIT_NOFILE", false);
    }
    out
}

fn no_cgroup(facts: &HostFacts, controller: &str) -> (String, String) {
    match &facts.cgroups {
        CgroupFacts::None { reason, fix } => (reason.clone(), fix.clone()),
        _ => (
            format!("the cgroup controller `{controller}` is not delegated to this user"),
            "run under `systemd-run --user --scope -p Delegate=yes qila run …`, or as root".into(),
        ),
    }
}

fn memory(ask: &Ask<'_>, ledger: &mut Ledger<'_>, out: &mut Limits) {
    let Ask {
        wanted,
        caps,
        facts,
        run,
    } = *ask;
    const CLAUSE: &str = "resources.memory";
    let Some(limit) = wanted.memory else { return };
    if caps.uses("memory")
        && let Some(by) = out.cgroup.memory(&facts.cgroups, run, limit.bytes)
    {
        ledger.enforced(CLAUSE, by, false);
        return;
    }
    // What an engine and the agent in it use cannot be told apart by looking at processes.
    if limit.hard || caps.engine.is_some() {
        let (reason, fix) = if caps.uses("memory") {
            no_cgroup(facts, "memory")
        } else {
            (
                "this tier has no cgroup for memory, and the policy asks for a hard bound".into(),
                String::new(),
            )
        };
        ledger.refuse(CLAUSE, reason, fix);
        return;
    }
    out.accounting = Some(Accounting {
        memory: limit.bytes.0,
        every_ms: SAMPLE_MS,
        mounts: Vec::new(),
    });
    // Reserved but unused address space is common (guard pages, garbage collectors), so that the bound on it is far above.
    let space = limit.bytes.0.saturating_mul(16).max(64 * GIB);
    out.each.push(Limit {
        what: LimitKind::AddressSpace,
        value: space,
    });
    out.each.push(Limit {
        what: LimitKind::Data,
        value: limit.bytes.0.saturating_mul(4),
    });
    ledger.enforced(
        CLAUSE,
        "accounting by the guest over its process namespace, sampled every 20 ms, memfd and System V segments denied; RLIMIT_DATA and RLIMIT_AS as second bounds",
        true,
    );
}

fn processes(ask: &Ask<'_>, ledger: &mut Ledger<'_>, out: &mut Limits) {
    let Ask {
        wanted,
        caps,
        facts,
        run,
    } = *ask;
    const CLAUSE: &str = "resources.processes";
    let Some(limit) = wanted.processes else { return };
    if let Some(engine) = &caps.engine {
        out.each.push(Limit {
            what: LimitKind::Processes,
            value: u64::from(limit) + 1,
        });
        let by = format!("RLIMIT_NPROC, counted by {}", engine.name);
        ledger.enforced(CLAUSE, &by, false);
        return;
    }
    if (caps.uses("pids") || facts.uid == 0)
        && let Some(by) = out.cgroup.processes(&facts.cgroups, run, limit)
    {
        ledger.enforced(CLAUSE, by, false);
        return;
    }
    if facts.uid == 0 {
        // The kernel exempts the host's user 0 from RLIMIT_NPROC, capabilities or not.
        let (reason, fix) = no_cgroup(facts, "pids");
        ledger.refuse(CLAUSE, reason, fix);
        return;
    }
    // The guest is one process of the namespace's user itself.
    out.each.push(Limit {
        what: LimitKind::Processes,
        value: u64::from(limit) + 1,
    });
    ledger.enforced(
        CLAUSE,
        "RLIMIT_NPROC, counted in the sandbox's own user namespace",
        false,
    );
}

fn cpu(ask: &Ask<'_>, ledger: &mut Ledger<'_>, out: &mut Limits) {
    let Ask {
        wanted,
        caps,
        facts,
        run,
    } = *ask;
    const CLAUSE: &str = "resources.cpu";
    let Some(limit) = wanted.cpu else { return };
    let host = facts.cpus.len();
    if usize::try_from(limit.0 / 1_000).is_ok_and(|cores| cores >= host) {
        ledger.enforced(CLAUSE, "the host has no more processors than that", false);
        return;
    }
    if caps.uses("cpu")
        && let Some(by) = out.cgroup.cpu(&facts.cgroups, run, limit)
    {
        ledger.enforced(CLAUSE, by, false);
        return;
    }
    if !limit.0.is_multiple_of(1_000) {
        let (reason, fix) = no_cgroup(facts, "cpu");
        let reason = format!("part of a core needs a cgroup: {reason}");
        ledger.refuse(
            CLAUSE,
            reason,
            format!("ask for a whole number of cores, or {fix}"),
        );
        return;
    }
    let count = usize::try_from(limit.0 / 1_000).unwrap_or(1);
    out.cpus = facts.cpus.iter().copied().take(count).collect();
    out.by_affinity = true;
    ledger.enforced(
        CLAUSE,
        "processor affinity, which seccomp keeps the agent from changing",
        false,
    );
}

fn disk(wanted: &Resources, workspace: WorkspaceMode, ledger: &mut Ledger<'_>, out: &mut Limits) {
    const CLAUSE: &str = "resources.disk";
    let Some(limit) = wanted.disk else { return };
    out.each.push(Limit {
        what: LimitKind::FileSize,
        value: limit.bytes.0,
    });
    if workspace != WorkspaceMode::Layer {
        out.scratch = Some(limit.bytes);
        ledger.enforced(
            CLAUSE,
            "size of the tmpfs behind /tmp, /dev/shm and the home directory; RLIMIT_FSIZE",
            false,
        );
        return;
    }
    if limit.hard {
        ledger.refuse(
            CLAUSE,
            "the workspace layer lies in a directory of the host, which has no quota".into(),
            "drop `hard`, or set `filesystem.workspace` to `read_only` or `none`".into(),
        );
        return;
    }
    // A quarter for what lies in memory, the rest for the layer: together no more than the limit.
    let scratch = limit.bytes.0 / 4;
    out.scratch = Some(Bytes(scratch));
    out.layer = Some(Bytes(limit.bytes.0 - scratch));
    ledger.enforced(
        CLAUSE,
        "a tmpfs of a quarter of it for /tmp, /var/tmp, /dev/shm and home; the layer, for the rest, sampled every 100 ms and walked at least every second; RLIMIT_FSIZE",
        true,
    );
}

fn disk_io(ask: &Ask<'_>, ledger: &mut Ledger<'_>, out: &mut Limits) {
    let Ask {
        wanted,
        caps,
        facts,
        run,
    } = *ask;
    const CLAUSE: &str = "resources.disk_io";
    if wanted.disk_read.is_none() && wanted.disk_write.is_none() {
        return;
    }
    if !caps.uses("io") {
        ledger.refuse(
            CLAUSE,
            "this tier makes no cgroup for block I/O".into(),
            String::new(),
        );
        return;
    }
    if wanted.disk_write.is_some() && matches!(facts.cgroups, CgroupFacts::V1 { .. }) {
        ledger.refuse(
            CLAUSE,
            "cgroup v1 does not attribute buffered writes to who made them".into(),
            "boot with cgroup v2 (`systemd.unified_cgroup_hierarchy=1`), or limit `read` only".into(),
        );
        return;
    }
    if facts.devices.is_empty() {
        ledger.refuse(
            CLAUSE,
            "the block device behind the workspace is not known".into(),
            String::new(),
        );
        return;
    }
    let (read, write) = (wanted.disk_read, wanted.disk_write);
    match out
        .cgroup
        .disk_io(&facts.cgroups, run, &facts.devices, read, write)
    {
        Some(by) => ledger.enforced(CLAUSE, by, false),
        None => {
            let (reason, fix) = no_cgroup(facts, "io");
            ledger.refuse(CLAUSE, reason, fix);
        }
    }
}

/// Limits that the launcher watches, and the memory-backed file systems that the guest counts in.
pub(crate) fn timers(
    wanted: &Resources,
    limits: &mut Limits,
    view: &View,
    ledger: &mut Ledger<'_>,
) -> Timers {
    if let Some(accounting) = &mut limits.accounting {
        let scratch = view.entries.iter().find_map(|e| match e {
            ViewEntry::Scratch { target, .. } => Some(target.as_bytes().to_vec()),
            _ => None,
        });
        accounting.mounts.extend(scratch);
    }
    if wanted.wall_time.is_some() {
        ledger.enforced("resources.wall_time", "a timer of the launcher", false);
    }
    if wanted.output.is_some() {
        ledger.enforced(
            "resources.output",
            "counted by the launcher, through which all output passes",
            false,
        );
    }
    Timers {
        wall_time: wanted.wall_time,
        output: wanted.output,
        layer: limits.layer,
    }
}

/// Names the clauses of a limit for [`Enforcement`].
pub(crate) fn entry(clause: &'static str, by: &str, weaker: bool) -> Enforcement {
    Enforcement {
        clause,
        by: by.to_owned(),
        weaker,
    }
}
