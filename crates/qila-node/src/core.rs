//! What all parts of a node share.
use crate::clock::now_ms;
use crate::events::Events;
use crate::evidence::Evidence;
use crate::home::Home;
use crate::launcher::Launcher;
use crate::ledger::Ledger;
use crate::live::{Live, gone};
use crate::pool::Pools;
use crate::record::Record;
use crate::shares::Shares;
use crate::snapshot::Snap;
use crate::template::Prepared;
use crate::warm::Warmed;
use qila_api::{ApiError, Event, Quotas, Result, SandboxId, SnapshotId, Tenant};
use qila_store::{Kind, Store};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Longest time that a sandbox may be asked for, in milliseconds: 24 hours.
const LONGEST_MS: u64 = 24 * 3600 * 1000;

/// What all parts of a node share.
pub(crate) struct Core {
    pub runtime: Handle,
    pub home: Home,
    /// `$QILA_HOME`.
    pub state: PathBuf,
    pub store: Store,
    pub launcher: Launcher,
    pub evidence: Evidence,
    pub events: Arc<Events>,
    pub quotas: Arc<dyn Quotas>,
    pub ledger: Arc<Ledger>,
    pub shares: Arc<Shares>,
    pub templates: RwLock<Vec<Arc<Prepared>>>,
    /// Templates that somebody is at work on.
    pub puts: tokio::sync::Mutex<crate::puts::Puts>,
    /// Templates that are being made ready, or could not be.
    pub unready: Mutex<Vec<crate::templates::Kept>>,
    pub sandboxes: RwLock<HashMap<SandboxId, Arc<Live>>>,
    pub snapshots: RwLock<HashMap<SnapshotId, Arc<Snap>>>,
    pub pools: Pools,
    pub warmed: Warmed,
    /// Sandboxes that are being taken down, and how many of them somebody is at work on.
    pub dying: Mutex<HashMap<SandboxId, Arc<Live>>>,
    pub endings: AtomicUsize,
    /// Creations that are under way at once.
    pub births: Semaphore,
    pub layers: Mutex<crate::layers::Known>,
    pub interpreter: Option<PathBuf>,
    /// Registries on this host or a private network that images may come from.
    pub registries: Vec<String>,
    pub upstreams: Vec<String>,
    pub upstream_ca: Vec<PathBuf>,
    pub prices: Option<String>,
    pub user_home: Option<String>,
}

impl Core {
    /// Waits for something, from a thread that may.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// The same of the store, in the words of whoever asked.
    pub(crate) fn store_blocking<T>(
        &self,
        work: impl Future<Output = std::result::Result<T, qila_store::StoreError>>,
    ) -> Result<T> {
        self.block_on(work).map_err(|e| crate::fault::store(&e))
    }

    /// A sandbox of a tenant.
    pub(crate) fn find(&self, tenant: &Tenant, id: &SandboxId) -> Result<Arc<Live>> {
        let live = self.any(id)?;
        if live.belongs_to(tenant) {
            Ok(live)
        } else {
            Err(gone(id))
        }
    }

    /// A sandbox, whosever it is.
    pub(crate) fn any(&self, id: &SandboxId) -> Result<Arc<Live>> {
        let all = self.sandboxes.read().unwrap_or_else(PoisonError::into_inner);
        all.get(id).cloned().ok_or_else(|| gone(id))
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        let all = self.sandboxes.read().unwrap_or_else(PoisonError::into_inner);
        all.values().cloned().collect()
    }

    pub(crate) fn insert(&self, live: Arc<Live>) {
        let mut all = self.sandboxes.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(live.id.clone(), live);
    }

    /// One that is being taken down is nobody's any more; what it lies on stays until it is gone.
    pub(crate) fn let_die(&self, live: &Arc<Live>) {
        let mut dying = self.dying.lock().unwrap_or_else(PoisonError::into_inner);
        dying.insert(live.id.clone(), live.clone());
        drop(dying);
        self.forget(&live.id);
    }

    pub(crate) fn forget(&self, id: &SandboxId) {
        let mut all = self.sandboxes.write().unwrap_or_else(PoisonError::into_inner);
        all.remove(id);
    }

    /// A template that a tenant may use, by name or id: its own before everyone's.
    pub(crate) fn template(&self, tenant: &Tenant, name: &str) -> Result<Arc<Prepared>> {
        let all = self.templates.read().unwrap_or_else(PoisonError::into_inner);
        let mut meant = all.iter().filter(|t| t.is_named(name) && t.is_open_to(tenant));
        let first = meant.next();
        let own = meant.find(|t| t.owner.as_ref() == Some(tenant));
        let found = match first {
            Some(t) if t.owner.as_ref() == Some(tenant) => Some(t),
            other => own.or(other),
        };
        found.cloned().ok_or_else(|| {
            ApiError::not_found(format!(
                "there is no template `{}`",
                name.chars().take(80).collect::<String>()
            ))
            .hint("see which there are in /v1/templates")
        })
    }

    /// Writes down what is known of a sandbox, and then knows it.
    pub(crate) async fn save(&self, live: &Live, record: Record) -> Result<()> {
        let text =
            serde_json::to_vec(&record).map_err(|e| crate::fault::internal("a sandbox's record", &e))?;
        let put = self
            .store
            .put(Kind::Sandbox, record.id.as_str(), &record.tenant, text);
        put.await.map_err(|e| crate::fault::store(&e))?;
        live.put(record);
        Ok(())
    }

    /// Tells what happened, once it is written down.
    pub(crate) async fn tell(
        &self,
        tenant: &Tenant,
        of: &SandboxId,
        kind: &str,
        fields: &[(&str, &str)],
    ) -> Result<()> {
        let event: Event = self.events.make(of, kind, fields);
        let (store, events, tenant) = (self.store.clone(), self.events.clone(), tenant.clone());
        // Whoever asked may go away: a number that is never closed would hold up all after it.
        let told = tokio::spawn(async move {
            let told = store.tell(vec![(tenant.clone(), event.clone())]).await;
            events.close(&tenant, event, told.is_ok());
            told
        });
        told.await
            .map_err(|e| crate::fault::internal("telling what happened", &e))?
            .map_err(|e| crate::fault::store(&e))
    }

    /// When a sandbox's time is over.
    pub(crate) fn end_of(
        &self,
        now: u64,
        made: u64,
        wish: Option<Duration>,
        prepared: &Prepared,
        longest: Option<u64>,
    ) -> u64 {
        let wish = wish.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let wish = wish.unwrap_or(prepared.template.timeout_s.saturating_mul(1000));
        latest(now, made, wish, longest)
    }

    /// Removes a sandbox's directory with all that is in it. What cannot be removed is tried again at the next start.
    pub(crate) fn remove_dir(&self, id: &str) {
        if let Err(e) = qila_workspace::remove_tree(&self.home.sandboxes, OsStr::new(id)) {
            eprintln!("qila: sandbox {id}: {e}");
        }
    }
}

/// The earlier of what is wished for and what the policy allows.
pub(crate) fn latest(now: u64, made: u64, wish_ms: u64, longest: Option<u64>) -> u64 {
    let end = now.saturating_add(wish_ms.min(LONGEST_MS));
    longest.map_or(end, |l| end.min(made.saturating_add(l)))
}

/// The time now, and the time of a sandbox from now.
pub(crate) fn from_now(record: &Record, wish: Duration) -> u64 {
    let wish = u64::try_from(wish.as_millis()).unwrap_or(u64::MAX);
    latest(now_ms(), record.made_ms, wish, record.longest_ms)
}
