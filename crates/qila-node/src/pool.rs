//! Sandboxes that are made before anybody asks: taken from their template's pool, which is filled again behind.
use crate::birth::Wish;
use crate::clock::now_ms;
use crate::core::Core;
use crate::end::{Why, end};
use crate::ledger::Held;
use crate::live::Live;
use crate::names;
use crate::template::Prepared;
use qila_api::{Create, NetworkWish, Quota, Result, Sandbox, Tenant};
use qila_types::EventKind;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most that wait in one pool.
pub(crate) const MOST: u32 = 1000;
/// How long after one was taken another is made.
const BEHIND: Duration = Duration::from_millis(30);
/// Made at once for one pool.
const AT_ONCE: usize = 2;

/// The pools of a node.
#[derive(Default)]
pub(crate) struct Pools {
    /// By the number of the template as it was prepared: what was made of an earlier one of the same name is in none of them.
    all: Mutex<HashMap<u64, Pool>>,
    /// The node ends: no more are made.
    closed: AtomicBool,
    /// Being made, or given up as soon as they were, for whatever pool.
    making: AtomicUsize,
}

/// One that is being made, until it waits in its pool or is ended again.
struct Making(Arc<Core>);

impl Making {
    fn begin(core: &Arc<Core>) -> Making {
        core.pools.making.fetch_add(1, Ordering::SeqCst);
        Making(core.clone())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.0.pools.making.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Pool {
    ready: VecDeque<Arc<Live>>,
    /// Being made.
    coming: usize,
}

/// To whom sandboxes in pools belong.
pub(crate) fn nobody() -> Result<Tenant> {
    Tenant::parse("0pool").map_err(|e| crate::fault::internal("naming nobody", &e))
}

impl Pools {
    /// Takes one that is ready, if there is one, and has another made.
    pub(crate) fn take(&self, core: &Arc<Core>, prepared: &Arc<Prepared>) -> Option<Arc<Live>> {
        if prepared.template.pool == 0 {
            return None;
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = None;
        while let Some(live) = all.get_mut(&prepared.number).and_then(|p| p.ready.pop_front()) {
            if !live.is_ending() {
                taken = Some(live);
                break;
            }
        }
        drop(all);
        // Whoever takes one wants to use it: others are made a moment later.
        let (core, prepared) = (core.clone(), prepared.clone());
        tokio::spawn(async move {
            tokio::time::sleep(BEHIND).await;
            core.pools.fill(&core, &prepared);
        });
        taken
    }

    /// Has as many made as its template asks for.
    pub(crate) fn fill(&self, core: &Arc<Core>, prepared: &Arc<Prepared>) {
        let wanted = prepared.template.pool.min(MOST) as usize;
        // A template that is no more, or another by now, has no pool: held, so that it is tidied away if it goes a moment later.
        let templates = core.templates.read().unwrap_or_else(PoisonError::into_inner);
        if !templates.iter().any(|t| t.number == prepared.number) {
            return;
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::SeqCst) {
            return;
        }
        let pool = all.entry(prepared.number).or_default();
        pool.ready.retain(|live| !live.is_ending());
        while pool.ready.len() + pool.coming < wanted && pool.coming < AT_ONCE {
            pool.coming += 1;
            let (core, prepared, making) = (core.clone(), prepared.clone(), Making::begin(core));
            tokio::spawn(async move {
                let made = make(&core, &prepared).await;
                if let Some(nobodys) = core.pools.arrived(&core, &prepared, made) {
                    give_up(&core, &nobodys).await;
                }
                drop(making);
            });
        }
    }

    /// Puts one into its pool. One whose pool was given up meanwhile comes back.
    fn arrived(
        &self,
        core: &Arc<Core>,
        prepared: &Arc<Prepared>,
        made: Result<Arc<Live>>,
    ) -> Option<Arc<Live>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pool) = all.get_mut(&prepared.number) else {
            return made.ok();
        };
        pool.coming = pool.coming.saturating_sub(1);
        match made {
            Ok(live) => {
                pool.ready.push_back(live);
                drop(all);
                self.fill(core, prepared);
            }
            // It is tried again when somebody asks.
            Err(e) => eprintln!("qila: filling the pool of {}: {e}", prepared.template.id),
        }
        None
    }

    /// Ends what waits in the pools of templates that are no more.
    pub(crate) fn tidy(&self, core: &Arc<Core>) {
        let templates = core.templates.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = |number: &u64, _: &mut Pool| !templates.iter().any(|t| t.number == *number);
        let pools: Vec<Pool> = all.extract_if(gone).map(|(_, pool)| pool).collect();
        drop((all, templates));
        empty(core, pools);
    }

    /// The node ends: so do all that nobody has asked for. Answers how many are left when the time is over.
    pub(crate) async fn close(&self, core: &Arc<Core>, time: Duration) -> usize {
        let pools: Vec<Pool> = {
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock: what arrives from now on finds no pool, and none is made.
            self.closed.store(true, Ordering::SeqCst);
            all.drain().map(|(_, pool)| pool).collect()
        };
        empty(core, pools);
        let begun = Instant::now();
        while self.making.load(Ordering::SeqCst) > 0 && begun.elapsed() < time {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.making.load(Ordering::SeqCst)
    }
}

fn empty(core: &Arc<Core>, pools: Vec<Pool>) {
    for live in pools.into_iter().flat_map(|p| p.ready) {
        let (core, making) = (core.clone(), Making::begin(core));
        tokio::spawn(async move {
            give_up(&core, &live).await;
            drop(making);
        });
    }
}

async fn give_up(core: &Arc<Core>, live: &Arc<Live>) {
    if let Err(e) = end(core, live, Why::Killed).await {
        eprintln!("qila: emptying a pool: {e}");
    }
}

async fn make(core: &Arc<Core>, prepared: &Arc<Prepared>) -> Result<Arc<Live>> {
    let tenant = nobody()?;
    let held = core.ledger.take(&tenant, &Quota::NONE, prepared.need)?;
    // Nobody else takes what is made beneath a tenant's warm program.
    let place = match &prepared.owner {
        Some(owner) => crate::lifecycle::seat(core, owner, prepared).await?,
        None => crate::birth::Seat::Plain,
    };
    let wish = Wish {
        tenant,
        prepared: prepared.clone(),
        permit: prepared.permit(&NetworkWish::default())?,
        create: Create::from_template(prepared.template.id.clone()),
        lower: None,
        held,
        pooled: true,
        place,
    };
    let live = crate::lifecycle::born(core, wish).await?;
    crate::lifecycle::start(core, &live, prepared).await?;
    Ok(live)
}

/// Gives a sandbox of a pool to whoever asked for one. The caller holds its `change`, and ends it after an error.
pub(crate) async fn claim(
    core: &Arc<Core>,
    live: &Arc<Live>,
    tenant: &Tenant,
    wish: &Create,
    prepared: &Prepared,
    held: Held,
) -> Result<Sandbox> {
    let mut record = live.record();
    let now = now_ms();
    let token = |wanted: bool| wanted.then(names::token).transpose();
    record.tenant = tenant.clone();
    record.pooled = false;
    record.made_ms = now;
    record.ends_ms = core.end_of(now, now, wish.timeout, prepared, record.longest_ms);
    record.on_timeout = wish.on_timeout;
    record.auto_resume = wish.auto_resume;
    record.metadata = wish.metadata.clone();
    record.words = wish.environment.clone();
    record.access_token = token(wish.secure)?;
    record.traffic_token = token(wish.private_ports)?;
    record.idempotency_key = wish.idempotency_key.clone();
    let env = wish.environment.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    crate::programs::overlay(&mut record.environment, env);
    // It stays in the cgroup in which it was made.
    if let Some((nobodys, _)) = live.held.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        *nobodys = held;
    }
    let claimed = EventKind::Claimed {
        tenant: tenant.to_string(),
    };
    let fields = [("template", prepared.template.id.as_str()), ("pool", "true")];
    let (saved, recorded, told) = tokio::join!(
        core.save(live, record.clone()),
        core.evidence.record(&live.id, vec![claimed]),
        core.tell(tenant, &live.id, "created", &fields),
    );
    let claimed = saved.and(recorded).and(told.clone());
    if claimed.is_err() && told.is_ok() {
        live.put(record.clone()); // whoever was told of its beginning is told of its end
    }
    claimed.map(|()| record.tell())
}
