//! Files of a sandbox as they were: kept, forked, and gone back to.
use crate::clock::now_ms;
use crate::core::Core;
use crate::fault::internal;
use crate::guest;
use crate::layers::{replace, share};
use crate::lifecycle;
use crate::live::Live;
use crate::names;
use crate::template::Root;
use qila_api::{ApiError, Create, Fork, Kind, Result, Sandbox, Snapshot, SnapshotId, Tenant};
use qila_wire::served::Ask;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Most snapshots of one tenant.
const MOST: usize = 1000;
/// How long a guest may take until all programs have ended.
const CLEARED: Duration = Duration::from_secs(30);

/// A snapshot, as it is remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snap {
    pub tenant: Tenant,
    pub snapshot: Snapshot,
    /// Its layers, the uppermost first.
    pub lower: Vec<String>,
    /// Where the system directories of its sandbox came from; none: that was not written down then.
    #[serde(default)]
    pub root: Option<Root>,
}

/// Keeps the files of a sandbox as they are now.
pub(crate) async fn take(core: &Arc<Core>, live: &Arc<Live>, name: Option<String>) -> Result<Snapshot> {
    let name = lifecycle::name(name)?;
    room(core, &live.look(|r| r.tenant.clone()))?;
    let (core, live) = (core.clone(), live.clone());
    let work = tokio::spawn(async move {
        let _change = live.change.lock().await;
        let (lower, pin) = share(&core, &live).await?;
        let id =
            SnapshotId::parse(names::sandbox()?.as_str()).map_err(|e| internal("naming a snapshot", &e))?;
        let (tenant, template, root) = live.look(|r| (r.tenant.clone(), r.template.clone(), r.root.clone()));
        let snapshot = Snapshot {
            id: id.clone(),
            sandbox: live.id.clone(),
            template,
            name,
            taken_ms: now_ms(),
        };
        let snap = Snap {
            tenant: tenant.clone(),
            snapshot: snapshot.clone(),
            lower,
            root,
        };
        let text = serde_json::to_vec(&snap).map_err(|e| internal("a snapshot's record", &e))?;
        let put = core
            .store
            .put(qila_store::Kind::Snapshot, id.as_str(), &tenant, text)
            .await;
        put.map_err(|e| crate::fault::store(&e))?;
        if let Err(e) = insert(&core, snap) {
            let removed = core.store.remove(qila_store::Kind::Snapshot, id.as_str()).await;
            removed.map_err(|e| crate::fault::store(&e))?;
            return Err(e);
        }
        drop(pin);
        core.tell(&tenant, &live.id, "snapshotted", &[("snapshot", id.as_str())])
            .await?;
        Ok(snapshot)
    });
    work.await.map_err(|e| internal("taking a snapshot", &e))?
}

fn full(all: &HashMap<SnapshotId, Arc<Snap>>, tenant: &Tenant) -> Result<()> {
    if all.values().filter(|s| s.tenant == *tenant).count() < MOST {
        return Ok(());
    }
    Err(
        ApiError::new(Kind::Quota, format!("a tenant has at most {MOST} snapshots"))
            .clause("quota.snapshots")
            .hint("remove a snapshot"),
    )
}

/// Whether a tenant may have one more.
fn room(core: &Core, tenant: &Tenant) -> Result<()> {
    full(
        &core.snapshots.read().unwrap_or_else(PoisonError::into_inner),
        tenant,
    )
}

/// Decided and taken in one step: others may have been taken meanwhile.
fn insert(core: &Core, snap: Snap) -> Result<()> {
    let mut all = core.snapshots.write().unwrap_or_else(PoisonError::into_inner);
    full(&all, &snap.tenant)?;
    all.insert(snap.snapshot.id.clone(), Arc::new(snap));
    Ok(())
}

/// Takes everything over that is remembered.
pub(crate) async fn load(core: &Core) -> Result<()> {
    let all = core
        .store
        .all(qila_store::Kind::Snapshot)
        .await
        .map_err(|e| crate::fault::store(&e))?;
    for document in all {
        let snap: Snap = serde_json::from_slice(&document.body).map_err(|e| {
            internal(
                &format!("the record of snapshot {} cannot be read", document.id),
                &e,
            )
        })?;
        let mut snapshots = core.snapshots.write().unwrap_or_else(PoisonError::into_inner);
        snapshots.insert(snap.snapshot.id.clone(), Arc::new(snap));
    }
    Ok(())
}

/// A snapshot of a tenant.
pub(crate) fn find(core: &Core, tenant: &Tenant, id: &SnapshotId) -> Result<Arc<Snap>> {
    let all = core.snapshots.read().unwrap_or_else(PoisonError::into_inner);
    let found = all.get(id).filter(|s| s.tenant == *tenant).cloned();
    found.ok_or_else(|| ApiError::not_found(format!("there is no snapshot {id}")))
}

/// Removes one.
pub(crate) async fn remove(core: &Arc<Core>, tenant: &Tenant, id: &SnapshotId) -> Result<bool> {
    if find(core, tenant, id).is_err() {
        return Ok(false);
    }
    let used = {
        let templates = core.templates.read().unwrap_or_else(PoisonError::into_inner);
        let of = |t: &Arc<crate::template::Prepared>| {
            t.template.source == qila_api::Source::Snapshot(id.to_string())
        };
        templates.iter().find(|t| of(t)).map(|t| t.template.id.clone())
    };
    if let Some(template) = used {
        return Err(ApiError::new(
            Kind::Conflict,
            format!("template {template} is made of this snapshot"),
        )
        .hint("remove the template first"));
    }
    let removed = core.store.remove(qila_store::Kind::Snapshot, id.as_str()).await;
    let removed = removed.map_err(|e| crate::fault::store(&e))?;
    core.snapshots
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(id);
    crate::layers::sweep(core).await;
    Ok(removed)
}

/// Makes a sandbox with the files of another. Its programs, credentials and tokens do not travel: it gets its own.
pub(crate) async fn fork(core: &Arc<Core>, tenant: &Tenant, live: &Arc<Live>, wish: Fork) -> Result<Sandbox> {
    if let Some(made) = lifecycle::made_before(core, tenant, wish.idempotency_key.as_deref()) {
        return Ok(made);
    }
    let record = live.record();
    let prepared = core.template(tenant, &record.template)?;
    let (lower, pin) = {
        let (core, live) = (core.clone(), live.clone());
        let work = tokio::spawn(async move {
            let _change = live.change.lock().await;
            share(&core, &live).await
        });
        work.await.map_err(|e| internal("forking a sandbox", &e))??
    };
    let left = record.ends_ms.saturating_sub(now_ms());
    let create = Create {
        template: record.template.clone(),
        timeout: wish.timeout.or(Some(Duration::from_millis(left))),
        on_timeout: record.on_timeout,
        auto_resume: record.auto_resume,
        metadata: wish.metadata.unwrap_or(record.metadata),
        environment: record.words,
        network: record.network,
        secure: record.access_token.is_some(),
        private_ports: record.traffic_token.is_some(),
        idempotency_key: wish.idempotency_key,
    };
    let made = lifecycle::make(core, tenant, prepared, create, Some(lower), "created").await?;
    drop(pin);
    core.tell(tenant, &live.id, "forked", &[("into", made.id.as_str())])
        .await?;
    Ok(made)
}

/// Ends the programs of a sandbox and gives it the files of a snapshot of its own.
pub(crate) async fn roll_back(core: &Arc<Core>, live: &Arc<Live>, to: Arc<Snap>) -> Result<Sandbox> {
    if to.snapshot.sandbox != live.id {
        return Err(ApiError::new(
            Kind::Conflict,
            format!("snapshot {} is of another sandbox", to.snapshot.id),
        )
        .hint("make a sandbox of it instead: a template with the snapshot as its source"));
    }
    live.running()?;
    let (core, live) = (core.clone(), live.clone());
    let work = tokio::spawn(async move {
        let _change = live.change.lock().await;
        live.running()?;
        // What it lies on stays, or is gone already.
        let _pin = crate::layers::Pin::on(&core, &to.lower);
        find(&core, &to.tenant, &to.snapshot.id)?;
        let cleared = tokio::time::timeout(CLEARED, guest::request(&live.dir, &Ask::Clear)).await;
        let late = || ApiError::new(Kind::Timeout, "the programs of the sandbox do not end");
        cleared.map_err(|_| late())?.map_err(crate::fault::guest)?;
        replace(&core, &live, to.lower.clone()).await?;
        crate::layers::sweep(&core).await;
        let tenant = live.look(|r| r.tenant.clone());
        core.tell(
            &tenant,
            &live.id,
            "rolled_back",
            &[("snapshot", to.snapshot.id.as_str())],
        )
        .await?;
        Ok(live.look(crate::record::Record::tell))
    });
    work.await.map_err(|e| internal("rolling a sandbox back", &e))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_and_no_more() {
        let tenant = |name| Tenant::parse(name).unwrap();
        let mut all = HashMap::new();
        for _ in 0..MOST {
            full(&all, &tenant("a")).unwrap();
            let id = SnapshotId::parse(names::sandbox().unwrap().as_str()).unwrap();
            let snapshot = Snapshot {
                id: id.clone(),
                sandbox: names::sandbox().unwrap(),
                template: "t".into(),
                name: None,
                taken_ms: 0,
            };
            let snap = Snap {
                tenant: tenant("a"),
                snapshot,
                lower: Vec::new(),
                root: None,
            };
            all.insert(id, Arc::new(snap));
        }
        let refused = full(&all, &tenant("a")).unwrap_err();
        assert_eq!(
            (refused.kind, refused.clause.as_deref()),
            (Kind::Quota, Some("quota.snapshots"))
        );
        full(&all, &tenant("b")).unwrap();
    }
}
