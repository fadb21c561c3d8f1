//! Warm programs of templates: one for each tenant that uses one, in a sandbox of its own that lives as long as its template, and as
//! long as any sandbox that was made beneath it.
use crate::birth::{Seat, Wish};
use crate::core::Core;
use crate::end::{Why, end};
use crate::fault::internal;
use crate::guest::Line;
use crate::live::Live;
use crate::template::{HOME, Prepared};
use crate::zygote::{Place, Zygote, ZygoteError};
use qila_api::{ApiError, Create, Kind, Result, SandboxId, Tenant};
use qila_policy::{Constitution, Permit};
use qila_types::Bytes;
use qila_wire::served::Exec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What the pages of a thousand forks cost their zygote, beyond what its program needs.
const ROOM: u64 = 512 << 20;
/// Most modules that a warm program imports.
const MODULES: usize = 32;

/// A warm program, and the sandbox that it is in.
pub(crate) struct Warm {
    core: Weak<Core>,
    live: Arc<Live>,
    /// None: there is none any more, and its sandbox is there for those beneath.
    zygote: Option<Zygote>,
}

impl Warm {
    /// The sandbox that it is in.
    pub(crate) fn id(&self) -> &SandboxId {
        &self.live.id
    }

    /// The process beneath whose sandbox others are to be made.
    pub(crate) fn above(&self) -> BorrowedFd<'_> {
        match &self.zygote {
            Some(zygote) => zygote.above(),
            None => self.live.pidfd.as_fd(),
        }
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        // Nothing is beneath it any more, and nobody asks for forks.
        let Some(core) = self.core.upgrade() else { return };
        let live = self.live.clone();
        core.runtime.clone().spawn(async move {
            if let Err(e) = end(&core, &live, Why::Killed).await {
                eprintln!("qila: ending a warm program: {e}");
            }
        });
    }
}

type Cell = Arc<tokio::sync::Mutex<Option<Arc<Warm>>>>;

/// Those of a node, by the number of the template as it was prepared, and tenant.
#[derive(Default)]
pub(crate) struct Warmed(Mutex<HashMap<(u64, Tenant), Cell>>);

impl Warmed {
    fn cell(&self, core: &Core, prepared: &Prepared, tenant: &Tenant) -> Cell {
        let templates = core.templates.read().unwrap_or_else(PoisonError::into_inner);
        if !templates.iter().any(|t| t.number == prepared.number) {
            return Cell::default(); // the template is no more, or another: nobody else is to find it
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((prepared.number, tenant.clone())).or_default().clone()
    }

    /// Forgets those of templates that are no more, or others: what is beneath a warm program goes on.
    pub(crate) fn tidy(&self, core: &Core) {
        let templates = core.templates.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(number, _), _| templates.iter().any(|t| t.number == *number));
    }

    /// All templates are.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether a template's warm program can be had.
pub(crate) fn check(template: &qila_api::Template) -> Result<()> {
    let Some(zygote) = &template.zygote else {
        return Ok(());
    };
    if template.public {
        return Err(ApiError::new(
            Kind::Refused,
            "a warm program is for one tenant: its author could take over every sandbox that has forks of it",
        )
        .clause("template.zygote")
        .hint("make the template without `public`, once for each tenant"));
    }
    let name = |m: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        !m.is_empty() && m.len() <= 128 && m.chars().all(plain)
    };
    if zygote.preload.len() > MODULES || !zygote.preload.iter().all(name) {
        return Err(
            ApiError::invalid(format!("`preload` has up to {MODULES} names of modules"))
                .clause("template.zygote"),
        );
    }
    Ok(())
}

/// The warm program of a template for a tenant; none if the template has none.
pub(crate) async fn of(
    core: &Arc<Core>,
    tenant: &Tenant,
    prepared: &Arc<Prepared>,
) -> Result<Option<Arc<Warm>>> {
    if prepared.template.zygote.is_none() {
        return Ok(None);
    }
    let cell = core.warmed.cell(core, prepared, tenant);
    let mut cell = cell.lock().await;
    if let Some(warm) = cell.as_ref().filter(|w| !w.live.is_ending()) {
        return Ok(Some(warm.clone()));
    }
    let held = core
        .ledger
        .take(tenant, &core.quotas.quota(tenant), prepared.need)?;
    let wish = Wish {
        tenant: tenant.clone(),
        prepared: prepared.clone(),
        permit: Arc::new(permit(prepared)?),
        create: Create::from_template(prepared.template.id.clone()),
        lower: None,
        held,
        pooled: true,
        place: Seat::Zygote,
    };
    let live = crate::lifecycle::born(core, wish).await?;
    match start(core, &live, prepared).await {
        Ok(warm) => {
            *cell = Some(warm.clone());
            Ok(Some(warm))
        }
        Err(e) => {
            end(core, &live, Why::Failed(e.message.clone())).await?;
            Err(e)
        }
    }
}

/// No network, no credentials, no end: what the warm program may do beside what its template's programs may do is nothing.
fn permit(prepared: &Prepared) -> Result<Permit> {
    let mut policy = prepared.permit.policy().clone();
    policy.network.allow.clear();
    policy.credentials.clear();
    policy.budgets.clear();
    policy.resources.wall_time = None;
    if let Some(memory) = &mut policy.resources.memory {
        memory.bytes = Bytes(memory.bytes.0.saturating_add(ROOM));
    }
    Permit::grant(policy, &Constitution::default())
        .map_err(|e| ApiError::new(Kind::Refused, e.to_string()).clause("constitution"))
}

fn copy(fd: &OwnedFd) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|e| internal("starting a warm program", &e))
}

async fn start(core: &Arc<Core>, live: &Arc<Live>, prepared: &Prepared) -> Result<Arc<Warm>> {
    let preload = prepared
        .template
        .zygote
        .iter()
        .flat_map(|z| z.preload.iter().map(String::as_str));
    let argv = ["python3", "-c", qila_sandbox::zygote::PYTHON]
        .into_iter()
        .chain(preload);
    let program = Exec {
        argv: argv.map(|a| a.as_bytes().to_vec()).collect(),
        env: live.look(|r| r.environment.iter().map(|v| v.clone().into_bytes()).collect()),
        cwd: HOME.as_bytes().to_vec(),
        tag: None,
        terminal: None,
        input: false,
    };
    let zygote = Zygote::start(copy(&live.dir)?, copy(&live.pidfd)?, program).await;
    Ok(Arc::new(Warm {
        core: Arc::downgrade(core),
        live: live.clone(),
        zygote: Some(zygote.map_err(fault)?),
    }))
}

fn fault(error: ZygoteError) -> ApiError {
    match error {
        ZygoteError::Cold(why) => ApiError::new(
            Kind::Conflict,
            format!("the template's warm program does not start: {why}"),
        )
        .clause("template.zygote"),
        ZygoteError::Request(e) => ApiError::invalid(e.to_string()),
        other => internal("forking a warm program", &other),
    }
}

/// Starts a program as a fork of the sandbox's warm one: the channel to it, and its number.
pub(crate) async fn fork(live: &Live, exec: &Exec) -> Result<(Line, u32)> {
    let none = || {
        ApiError::new(Kind::Refused, "this sandbox has no warm program")
            .clause("template.zygote")
            .hint("use a template with `zygote`")
    };
    let warm = live.warm.get().ok_or_else(none)?;
    let beneath = live.look(|r| r.beneath.clone()).ok_or_else(none)?;
    let place = Place {
        dir: &live.dir,
        first: live.pidfd.as_fd(),
        walls: &beneath.walls,
        cage: &beneath.cage,
    };
    let zygote = warm.zygote.as_ref().ok_or_else(none)?;
    zygote.fork_into(&place, exec).await.map_err(fault)
}

/// After a restart of the node: warm programs that sandboxes are beneath of are started again, others end.
pub(crate) async fn take_up(core: &Arc<Core>) -> Result<()> {
    let all = core.all();
    for above in all.iter().filter(|l| l.look(|r| r.zygote)) {
        let is_beneath = |l: &&Arc<Live>| l.look(|r| r.beneath.as_ref().is_some_and(|b| b.above == above.id));
        let beneath: Vec<_> = all.iter().filter(is_beneath).cloned().collect();
        if beneath.is_empty() {
            end(core, above, Why::Killed).await?;
            continue;
        }
        let record = above.record();
        let prepared = core.template(&record.tenant, &record.template).ok();
        // Not one that was made anew since.
        let prepared =
            prepared.filter(|p| p.template.made_ms <= record.made_ms && p.digest == record.policy_digest);
        let (core, above) = (core.clone(), above.clone());
        // It takes its time: nobody waits for it but who asks for a fork.
        tokio::spawn(async move {
            let started = match &prepared {
                Some(prepared) => start(&core, &above, prepared).await,
                None => Err(ApiError::not_found("its template has changed")),
            };
            // Without one, what is beneath goes on and has no more forks. With the last of them its sandbox ends either way.
            let warm = started.unwrap_or_else(|e| {
                eprintln!("qila: a warm program of {}: {e}", record.template);
                Arc::new(Warm {
                    core: Arc::downgrade(&core),
                    live: above,
                    zygote: None,
                })
            });
            for live in &beneath {
                let _ = live.warm.set(warm.clone()); // it has none yet
            }
            if let Some(prepared) = prepared.filter(|_| warm.zygote.is_some()) {
                let cell = core.warmed.cell(&core, &prepared, &record.tenant);
                cell.lock().await.get_or_insert(warm);
            }
        });
    }
    Ok(())
}
