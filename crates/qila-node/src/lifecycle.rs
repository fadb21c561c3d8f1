//! From a wish to a sandbox, and what it goes through until its end.
use crate::birth::{self, Newborn, Seat, Wish};
use crate::clock::now_ms;
use crate::core::{Core, from_now};
use crate::fault::internal;
use crate::freeze;
use crate::live::Live;
use crate::record::Phase;
use crate::template::Prepared;
use qila_api::{ApiError, Create, Kind, Result, Sandbox, Tenant};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of metadata and of environment together.
const MAX_WORDS: usize = 64 * 1024;

/// Makes a sandbox for a tenant.
pub(crate) async fn create(core: &Arc<Core>, tenant: &Tenant, wish: Create) -> Result<Sandbox> {
    check(&wish)?;
    if let Some(made) = made_before(core, tenant, wish.idempotency_key.as_deref()) {
        return Ok(made);
    }
    let prepared = core.template(tenant, &wish.template)?;
    make(core, tenant, prepared, wish, None, "created").await
}

/// The sandbox that a request with this key has made: a node that was killed in between has answered nobody.
pub(crate) fn made_before(core: &Core, tenant: &Tenant, key: Option<&str>) -> Option<Sandbox> {
    let key = key?;
    let of = |r: &crate::record::Record| r.tenant == *tenant && r.idempotency_key.as_deref() == Some(key);
    let all = core.all();
    let made = all.iter().find(|live| !live.is_ending() && live.look(of))?;
    Some(made.look(crate::record::Record::tell))
}

/// Makes a sandbox of a template, on these layers if any are given. `kind`: what is told of it.
pub(crate) async fn make(
    core: &Arc<Core>,
    tenant: &Tenant,
    prepared: Arc<Prepared>,
    wish: Create,
    lower: Option<Vec<String>>,
    kind: &'static str,
) -> Result<Sandbox> {
    let held = core
        .ledger
        .take(tenant, &core.quotas.quota(tenant), prepared.need)?;
    let (core, tenant) = (core.clone(), tenant.clone());
    // What was begun is finished, or undone, whoever goes away meanwhile.
    let work = tokio::spawn(async move {
        let plain = lower.is_none() && wish.network == qila_api::NetworkWish::default();
        while plain && let Some(live) = core.pools.take(&core, &prepared) {
            let change = live.change.lock().await;
            if live.is_ending() {
                continue; // it died while it waited
            }
            let claimed = crate::pool::claim(&core, &live, &tenant, &wish, &prepared, held).await;
            drop(change);
            return or_end(&core, &live, claimed).await;
        }
        let permit = prepared.permit(&wish.network)?;
        let place = seat(&core, &tenant, &prepared).await?;
        let _pin = crate::layers::Pin::on(&core, lower.as_ref().unwrap_or(&prepared.lower));
        let wish = Wish {
            tenant: tenant.clone(),
            prepared: prepared.clone(),
            permit,
            create: wish,
            lower,
            held,
            pooled: false,
            place,
        };
        let live = born(&core, wish).await?;
        start(&core, &live, &prepared).await?;
        let fields = [("template", prepared.template.id.as_str())];
        let told = core.tell(&tenant, &live.id, kind, &fields).await;
        or_end(&core, &live, told).await?;
        Ok(live.look(crate::record::Record::tell))
    });
    work.await.map_err(|e| internal("making a sandbox", &e))?
}

/// A sandbox that whoever asked for it never hears of is ended.
async fn or_end<T>(core: &Arc<Core>, live: &Arc<Live>, made: Result<T>) -> Result<T> {
    if let Err(e) = &made {
        let why = crate::end::Why::Failed(e.message.clone());
        if let Err(e) = crate::end::end(core, live, why).await {
            eprintln!("qila: ending a sandbox that could not be handed out: {e}");
        }
    }
    made
}

/// For what the sandboxes of a template are made.
pub(crate) async fn seat(core: &Arc<Core>, tenant: &Tenant, prepared: &Arc<Prepared>) -> Result<Seat> {
    let warm = crate::warm::of(core, tenant, prepared).await?;
    Ok(warm.map_or(Seat::Plain, Seat::Beneath))
}

/// Makes one and begins to look after it.
pub(crate) async fn born(core: &Arc<Core>, wish: Wish) -> Result<Arc<Live>> {
    let _turn = core
        .births
        .acquire()
        .await
        .map_err(|e| internal("making a sandbox", &e))?;
    let warm = match &wish.place {
        Seat::Beneath(warm) => Some(warm.clone()),
        Seat::Plain | Seat::Zygote => None,
    };
    let (again, prepared) = (core.clone(), wish.prepared.clone());
    let permit = wish.permit.clone();
    let made = tokio::task::spawn_blocking(move || birth::make(&again, wish)).await;
    let Newborn { live, listeners } = made.map_err(|e| internal("making a sandbox", &e))??;
    if let Some(warm) = warm {
        let _ = live.warm.set(warm); // it has none yet
    }
    core.insert(live.clone());
    crate::watch::guard(core, &live);
    if !listeners.is_empty() {
        crate::outside::look_after(core, &live, listeners, &prepared, &permit);
    }
    Ok(live)
}

/// Runs what its template wants to run, until it is ready. One that does not become ready is ended.
pub(crate) async fn start(core: &Arc<Core>, live: &Arc<Live>, prepared: &Prepared) -> Result<()> {
    let template = &prepared.template;
    if template.start.is_none() && template.ready.is_none() {
        return Ok(());
    }
    if let Err(e) =
        crate::programs::make_ready(live, template.start.as_deref(), template.ready.as_deref()).await
    {
        crate::end::end(core, live, crate::end::Why::Failed(e.message.clone())).await?;
        return Err(e);
    }
    Ok(())
}

/// Sizes and names.
fn check(wish: &Create) -> Result<()> {
    let words = wish.metadata.iter().chain(&wish.environment);
    let bytes: usize = words.map(|(k, v)| k.len() + v.len() + 2).sum();
    if bytes > MAX_WORDS {
        return Err(ApiError::invalid(format!(
            "metadata and environment may have {MAX_WORDS} bytes together"
        )));
    }
    for name in wish.environment.keys() {
        if name.is_empty() || name.contains(['=', '\0']) || name.starts_with("QILA_") {
            return Err(ApiError::invalid(format!(
                "`{name}` cannot be the name of a variable"
            )));
        }
    }
    if wish.environment.values().any(|v| v.contains('\0')) {
        return Err(ApiError::invalid("a variable cannot hold a zero byte"));
    }
    Ok(())
}

/// Changes what a sandbox is, alone, to the end, whoever goes away meanwhile. One that is being taken down is not changed.
async fn change<T, F>(
    core: &Arc<Core>,
    live: &Arc<Live>,
    what: impl FnOnce(Arc<Core>, Arc<Live>) -> F + Send + 'static,
) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let (core, live) = (core.clone(), live.clone());
    let work = tokio::spawn(async move {
        let _change = live.change.lock().await;
        if live.is_ending() {
            return Err(crate::live::gone(&live.id));
        }
        what(core, live.clone()).await
    });
    work.await.map_err(|e| internal("changing a sandbox", &e))?
}

/// Sets its end.
pub(crate) async fn set_timeout(
    core: &Arc<Core>,
    live: &Arc<Live>,
    timeout: Duration,
    only_extend: bool,
) -> Result<Sandbox> {
    change(core, live, move |core, live| async move {
        extend(&core, &live, timeout, only_extend).await
    })
    .await
}

async fn extend(core: &Core, live: &Live, timeout: Duration, only_extend: bool) -> Result<Sandbox> {
    let mut record = live.record();
    let end = from_now(&record, timeout);
    if !only_extend || end > record.ends_ms {
        record.ends_ms = end;
        core.save(live, record.clone()).await?;
        core.tell(
            &record.tenant,
            &record.id,
            "extended",
            &[("ends_ms", &end.to_string())],
        )
        .await?;
    }
    Ok(record.tell())
}

/// Makes it stand still. `alone`: nobody asked, its time is over.
pub(crate) async fn pause(core: &Arc<Core>, live: &Arc<Live>, alone: bool) -> Result<Sandbox> {
    change(core, live, move |core, live| async move {
        stand_still(&core, &live, alone).await
    })
    .await
}

async fn stand_still(core: &Core, live: &Live, alone: bool) -> Result<Sandbox> {
    let mut record = live.record();
    // Somebody may have given it more time meanwhile.
    if record.phase == Phase::Paused || (alone && now_ms() < record.ends_ms) {
        return Ok(record.tell());
    }
    freeze::freeze(live).await?;
    record.phase = Phase::Paused;
    if let Err(e) = core.save(live, record.clone()).await {
        freeze::go_on(live).await?;
        return Err(e);
    }
    let why = if alone { "timeout" } else { "asked" };
    core.tell(&record.tenant, &record.id, "paused", &[("reason", why)])
        .await?;
    Ok(record.tell())
}

/// Lets it go on.
pub(crate) async fn resume(core: &Arc<Core>, live: &Arc<Live>, timeout: Option<Duration>) -> Result<Sandbox> {
    change(core, live, move |core, live| async move {
        go_on(&core, &live, timeout).await
    })
    .await
}

async fn go_on(core: &Arc<Core>, live: &Arc<Live>, timeout: Option<Duration>) -> Result<Sandbox> {
    let mut record = live.record();
    let was = record.phase;
    let end = timeout.map(|t| from_now(&record, t));
    match was {
        Phase::Paused => {
            // A time that was over is not over again at once.
            let least = from_now(&record, Duration::from_secs(300));
            record.ends_ms = end.unwrap_or(least);
            record.phase = Phase::Running;
            freeze::go_on(live).await?;
        }
        Phase::Running => record.ends_ms = record.ends_ms.max(end.unwrap_or(0)),
    }
    if let Err(e) = core.save(live, record.clone()).await {
        if was == Phase::Paused {
            freeze::freeze(live).await?;
        }
        return Err(e);
    }
    if was == Phase::Paused {
        let alone = live
            .outside
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .is_none();
        if record.networked && alone {
            crate::adopt::watch_network(core, live).await?;
        }
        core.tell(&record.tenant, &record.id, "resumed", &[]).await?;
    }
    Ok(record.tell())
}

/// A sandbox that can be spoken to: a paused one that wants to comes back by itself.
pub(crate) async fn awake(core: &Arc<Core>, tenant: &Tenant, id: &qila_api::SandboxId) -> Result<Arc<Live>> {
    let live = core.find(tenant, id)?;
    if live.look(|r| r.phase == Phase::Paused && r.auto_resume) {
        resume(core, &live, None).await?;
    }
    live.running()?;
    Ok(live)
}

/// Longest name of a snapshot.
const MAX_NAME: usize = 128;

/// A name that somebody gives to something.
pub(crate) fn name(text: Option<String>) -> Result<Option<String>> {
    match text {
        Some(t) if t.is_empty() || t.len() > MAX_NAME || t.chars().any(char::is_control) => {
            Err(ApiError::new(
                Kind::Invalid,
                format!("a name has 1 to {MAX_NAME} bytes and no control characters"),
            ))
        }
        other => Ok(other),
    }
}
