//! What was told of sandboxes last, before the node's process ended: a record is written before its event, and an end's event before
//! the record goes. What was not told is told by the next start, and what was told is not told again.
use crate::core::Core;
use crate::record::Record;
use qila_api::{Event, Result, SandboxId, Tenant};
use std::collections::{HashMap, HashSet};

/// Newest events that are looked at. What was under way when a process ended is among far fewer.
const LOOK_BACK: u64 = 5_000;

/// What was told of a tenant's sandboxes.
struct Last {
    created: HashSet<SandboxId>,
    ended: HashSet<SandboxId>,
    /// All from this moment on is known, in Unix milliseconds.
    since: u64,
}

/// What was told last, by tenant.
#[derive(Default)]
pub(crate) struct Told(HashMap<Tenant, Last>);

impl Told {
    async fn of(&mut self, core: &Core, tenant: &Tenant) -> Result<&Last> {
        if !self.0.contains_key(tenant) {
            let failed = |e| crate::fault::store(&e);
            let from = core
                .store
                .last_event()
                .await
                .map_err(failed)?
                .saturating_sub(LOOK_BACK);
            let most = usize::try_from(LOOK_BACK).unwrap_or(usize::MAX);
            let events = core.store.events(tenant, from, most).await.map_err(failed)?;
            let kind = |kind: &str| -> HashSet<SandboxId> {
                let of = events.iter().filter(|e: &&Event| e.kind == kind);
                of.map(|e| e.sandbox.clone()).collect()
            };
            let (created, ended) = (kind("created"), kind("ended"));
            let since = match from {
                0 => 0,
                _ => events.first().map_or(u64::MAX, |e| e.time_ms),
            };
            let last = Last {
                created,
                ended,
                since,
            };
            self.0.insert(tenant.clone(), last);
        }
        self.0.get(tenant).ok_or_else(|| {
            crate::fault::internal("looking for events", &"what was read a moment ago is not there")
        })
    }

    /// Tells that it was made, if nobody has been told.
    pub(crate) async fn created(&mut self, core: &Core, record: &Record) -> Result<()> {
        if record.pooled {
            return Ok(());
        }
        let last = self.of(core, &record.tenant).await?;
        if record.made_ms < last.since || last.created.contains(&record.id) {
            return Ok(());
        }
        let fields = [("template", record.template.as_str())];
        core.tell(&record.tenant, &record.id, "created", &fields).await
    }

    /// Whether it was told, and so recorded, that it has ended.
    pub(crate) async fn ended(&mut self, core: &Core, record: &Record) -> Result<bool> {
        Ok(self.of(core, &record.tenant).await?.ended.contains(&record.id))
    }
}
