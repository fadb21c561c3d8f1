//! Making a sandbox: from a template and a wish to a guest that serves.
use crate::clock::now_ms;
use crate::core::Core;
use crate::fault::{busy, internal, launch};
use crate::guest;
use crate::launcher::LauncherError;
use crate::ledger::Held;
use crate::live::{Live, born};
use crate::names;
use crate::record::{Beneath, Phase, Record};
use crate::template::{HOME, Place, Prepared};
use crate::warm::Warm;
use qila_api::{ApiError, Create, Kind, Result, SandboxId, Tenant};
use qila_gateway::Placeholder;
use qila_plan::{NetworkPlan, Plan, ViewEntry};
use qila_policy::Permit;
use qila_sandbox::zygote::{one_wall, warm};
use qila_sandbox::{Ground, Sandbox};
use qila_types::EventKind;
use qila_wire::served::Cage;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::sync::Arc;
use std::time::Duration;

/// How long a first process may take for each step of its birth: beneath a warm program, that may make it stand still.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a sandbox is made from.
pub(crate) struct Wish {
    pub tenant: Tenant,
    pub prepared: Arc<Prepared>,
    pub permit: Arc<Permit>,
    pub create: Create,
    /// What its home lies on, if not what its template says.
    pub lower: Option<Vec<String>>,
    pub held: Held,
    pub pooled: bool,
    /// For what it is to be made.
    pub place: Seat,
}

/// For what a sandbox is made.
pub(crate) enum Seat {
    /// For programs that are started in it.
    Plain,
    /// For a warm program.
    Zygote,
    /// For forks of a warm program too.
    Beneath(Arc<Warm>),
}

/// A sandbox that serves, with the sockets on which its network's guard is to listen.
pub(crate) struct Newborn {
    pub live: Arc<Live>,
    pub listeners: Vec<OwnedFd>,
}

/// Makes one. It blocks: for a thread of its own. Whatever fails, nothing is left.
pub(crate) fn make(core: &Core, wish: Wish) -> Result<Newborn> {
    let id = names::sandbox()?;
    let full = |e: Errno| match e {
        Errno::NOSPC | Errno::DQUOT => ApiError::new(Kind::NoSpace, "the node's disk is full"),
        Errno::MFILE | Errno::NFILE => busy(),
        e => internal("making a sandbox's directory", &e),
    };
    let dir = core.home.make(id.as_str()).map_err(|e| {
        core.remove_dir(id.as_str());
        full(e)
    })?;
    let made = build(core, wish, &id, dir);
    if made.is_err() {
        core.remove_dir(id.as_str());
        core.store_blocking(core.store.remove(qila_store::Kind::Sandbox, id.as_str()))
            .ok();
    }
    made
}

fn placeholders(permit: &Permit) -> Result<Vec<Placeholder>> {
    let credentials = permit.policy().credentials.iter();
    credentials
        .map(|c| Ok(Placeholder::new(&c.name, names::placeholder()?)))
        .collect()
}

fn variables(permit: &Permit, placeholders: &[Placeholder]) -> Vec<(String, String)> {
    let credentials = permit.policy().credentials.iter().zip(placeholders);
    let of = |(c, p): (&qila_policy::model::Credential, &Placeholder)| -> Vec<_> {
        c.env.iter().map(|name| (name.clone(), p.text.clone())).collect()
    };
    credentials.flat_map(of).collect()
}

fn build(core: &Core, wish: Wish, id: &SandboxId, dir: OwnedFd) -> Result<Newborn> {
    let prepared = &wish.prepared;
    let placeholders = placeholders(&wish.permit)?;
    let lower = wish.lower.as_ref().unwrap_or(&prepared.lower);
    let house = housed(&wish);
    let share = core.shares.take(house, core.quotas.quota(house).weight)?;
    let place = Place {
        id: id.as_str(),
        dir: &core.home.sandbox(id.as_str()),
        lower,
        interpreter: core.interpreter.as_deref(),
        placeholders: &variables(&wish.permit, &placeholders),
        cgroups: Some(share.facts()),
    };
    let plan = prepared.plan(&wish.permit, place)?;
    let (authority, ca) = match plan.network() {
        NetworkPlan::Locked { intercepts: true, .. } => {
            let (key, ca) = qila_gateway::authority().map_err(|e| internal("making a certificate", &e))?;
            (Some(key), ca)
        }
        _ => (None, String::new()),
    };
    let ground = Ground::prepare(plan.walls()).map_err(|e| launch(&e))?;
    let born_now = match &wish.place {
        Seat::Beneath(warm) => core
            .launcher
            .bear_beneath(plan.walls(), ground.birthplace(), warm.above()),
        Seat::Plain | Seat::Zygote => core.launcher.bear(plan.walls(), ground.birthplace()),
    };
    let born_now = born_now.map_err(|e| match e {
        LauncherError::Failed(why) if why.contains("Resource temporarily unavailable") => busy(),
        e => internal("making a sandbox", &e),
    })?;
    let mut sandbox = Sandbox::of(plan.walls(), ground, born_now).map_err(|e| launch(&e))?;
    sandbox.hurry(PATIENCE);
    // While the child makes its network.
    let cage = surround(&plan, &wish.place)?;
    let mut record = record(
        core,
        &wish,
        id,
        &plan,
        &sandbox,
        lower,
        &placeholders,
        authority.as_ref().map(|k| k.as_str()),
    )?;
    if let Seat::Beneath(warm) = &wish.place {
        record.beneath = Some(Beneath {
            above: warm.id().clone(),
            walls: plan.walls().clone(),
            cage: cage.clone(),
        });
    }
    let listeners = match plan.network().has_gateway() {
        true => {
            let l = sandbox.listeners().map_err(|e| launch(&e))?;
            vec![l.tcp, l.dns_udp, l.dns_tcp]
        }
        false => Vec::new(),
    };
    sandbox.go(ca.as_bytes()).map_err(|e| launch(&e))?;
    // While it builds its view. It serves only once both are on the disk.
    let socket = guest::listener(&dir).map_err(|e| internal("making a sandbox's socket", &e))?;
    let text = serde_json::to_vec(&record).map_err(|e| internal("a sandbox's record", &e))?;
    core.block_on(async {
        let (stored, recorded) = tokio::join!(
            core.store
                .put(qila_store::Kind::Sandbox, id.as_str(), &record.tenant, text),
            core.evidence
                .record(id, launch_events(prepared, &wish.permit, &plan, &placeholders)),
        );
        stored.map_err(|e| crate::fault::store(&e))?;
        recorded
    })?;
    let held: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    sandbox
        .serve(&cage, socket.as_fd(), &held)
        .map_err(|e| launch(&e))?;
    let pidfd = sandbox
        .leave()
        .ok_or_else(|| internal("making a sandbox", &"it has no process"))?;
    Ok(Newborn {
        live: Live::new(record, dir, pidfd, wish.held, share),
        listeners,
    })
}

/// Who answers for what it uses: whose it is, or whose template it waits for.
fn housed(wish: &Wish) -> &Tenant {
    match &wish.prepared.owner {
        Some(owner) if wish.pooled => owner,
        _ => &wish.tenant,
    }
}

/// What surrounds the programs of a sandbox.
fn surround(plan: &Plan, place: &Seat) -> Result<Cage> {
    let plain = cage(plan);
    match place {
        Seat::Plain => Ok(plain),
        Seat::Beneath(_) => Ok(one_wall(plain)),
        Seat::Zygote => warm(plain, crate::pool::MOST).ok_or_else(|| {
            ApiError::new(
                Kind::Unsupported,
                "warm programs are not for this kind of processor",
            )
            .clause("template.zygote")
        }),
    }
}

fn cage(plan: &Plan) -> Cage {
    Cage {
        limits: plan.limits().to_vec(),
        landlock: plan.landlock().clone(),
        filter: plan.filter().to_vec(),
        cpus: plan.cpus().to_vec(),
        accounting: plan.accounting().clone(),
        home: HOME.as_bytes().to_vec(),
    }
}

fn launch_events(
    prepared: &Prepared,
    permit: &Arc<Permit>,
    plan: &Plan,
    placeholders: &[Placeholder],
) -> Vec<EventKind> {
    let digest = match Arc::ptr_eq(permit, &prepared.permit) {
        true => prepared.digest.clone(),
        false => crate::template::digest(permit.policy()),
    };
    let launch = EventKind::Launch {
        tier: *plan.tier(),
        policy_digest: digest,
        plan_digest: plan.digest(),
        command: vec!["serve".into(), prepared.template.id.clone()],
        workspace: None,
        unenforced: plan.unenforced().to_vec(),
    };
    let leases = placeholders.iter().map(|p| EventKind::LeaseCreated {
        credential: p.credential.clone(),
    });
    std::iter::once(launch).chain(leases).collect()
}

#[allow(
    clippy::too_many_arguments,
    reason = "a record is of many things, each of which somebody else knows"
)]
fn record(
    core: &Core,
    wish: &Wish,
    id: &SandboxId,
    plan: &Plan,
    sandbox: &Sandbox,
    lower: &[String],
    placeholders: &[Placeholder],
    authority: Option<&str>,
) -> Result<Record> {
    let create = &wish.create;
    let prepared = &wish.prepared;
    let pid = sandbox.pid().as_raw_nonzero().get();
    let since = born(pid).map_err(|e| internal("looking at a sandbox's process", &e))?;
    let since = since.ok_or_else(|| internal("making a sandbox", &"its first process vanished"))?;
    let env = |v: &qila_plan::EnvVar| {
        let name = String::from_utf8_lossy(&v.name).into_owned();
        format!("{name}={}", String::from_utf8_lossy(&v.value))
    };
    let mut environment: Vec<String> = prepared.words.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let planned: Vec<String> = plan.environment().iter().map(env).collect();
    crate::programs::overlay(&mut environment, planned.iter().filter_map(|v| v.split_once('=')));
    crate::programs::overlay(
        &mut environment,
        create.environment.iter().map(|(k, v)| (k.as_str(), v.as_str())),
    );
    let now = now_ms();
    let longest = wish.permit.policy().resources.wall_time.map(|t| t.0);
    let token = |wanted: bool| wanted.then(names::token).transpose();
    let policy = wish.permit.policy();
    Ok(Record {
        id: id.clone(),
        tenant: wish.tenant.clone(),
        housed: housed(wish).clone(),
        template: prepared.template.id.clone(),
        alias: prepared.template.names.first().cloned(),
        phase: Phase::Running,
        made_ms: now,
        ends_ms: core.end_of(now, now, create.timeout, prepared, longest),
        on_timeout: create.on_timeout,
        auto_resume: create.auto_resume,
        metadata: create.metadata.clone(),
        environment,
        words: create.environment.clone(),
        network: create.network.clone(),
        access_token: token(create.secure)?,
        traffic_token: token(create.private_ports)?,
        tier: plan.tier().to_string(),
        cpu_milli: u32::try_from(prepared.need.cpu_milli).unwrap_or(u32::MAX),
        memory_mib: prepared.need.memory_mib,
        disk_mib: prepared.need.disk_mib,
        home: HOME.into(),
        layered: plan
            .view()
            .entries
            .iter()
            .any(|e| matches!(e, ViewEntry::Layer { .. })),
        lower: lower.to_vec(),
        root: Some(prepared.root.clone()),
        pid,
        born: since,
        cgroup: plan.cgroup().clone(),
        layer_limit: plan.timers().layer.map(|b| b.0),
        longest_ms: longest,
        idempotency_key: create.idempotency_key.clone(),
        policy_digest: prepared.digest.clone(),
        placeholders: placeholders
            .iter()
            .map(|p| (p.credential.clone(), p.text.clone()))
            .collect(),
        networked: plan.network().has_gateway(),
        mints: policy.credentials.iter().any(|c| c.source.mints()),
        authority: authority.map(str::to_owned),
        output_limit: plan.timers().output.map(|b| b.0),
        pooled: wish.pooled,
        zygote: matches!(wish.place, Seat::Zygote),
        beneath: None,
        moving: None,
    })
}
