//! The node: what it is started with, and what it can be asked.
use crate::adopt::{self, Found};
use crate::core::Core;
use crate::end::{Why, end};
use crate::events::Events;
use crate::evidence::Evidence;
use crate::home::{Home, HomeError};
use crate::launcher::Launcher;
use crate::ledger::Ledger;
use crate::live::Live;
use crate::pool::Pools;
use crate::shares::Shares;
use crate::warm::Warmed;
use crate::{files, lifecycle, metrics, programs, snapshot, templates};
use async_trait::async_trait;
use qila_api::{
    ApiError, Attach, Create, Cursor, Entry, Event, Exec, Filter, Fork, Input, Kind, LogLine, Metrics, Node,
    Page, Process, ProcessInfo, Quotas, Reader, Result, Sandbox, SandboxId, Select, Snapshot, SnapshotId,
    Stream, Template, Tenant, Watch, Writer,
};
use qila_evidence::{Log, LogError};
use qila_store::Store;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Sandboxes that are made at once.
const BIRTHS: usize = 16;

/// How long sandboxes that are being taken down are waited for.
const ENDINGS: Duration = Duration::from_secs(30);

/// What a node is started with.
pub struct Config {
    /// `$QILA_HOME`. The node keeps what is its own in `serve` beneath it.
    pub state: PathBuf,
    /// Forked while there was one thread.
    pub launcher: Launcher,
    /// What it remembers.
    pub store: Store,
    /// Where evidence goes.
    pub log: Log,
    /// Who may have how much.
    pub quotas: Arc<dyn Quotas>,
    /// Most sandboxes at once.
    pub most: u32,
    /// The program that runs cells of code, on the host: a static one.
    pub interpreter: Option<PathBuf>,
    /// Registries on this host or a private network that images may come from, with `http://` before those on loopback that have no
    /// TLS.
    pub registries: Vec<String>,
    /// Where names are, by the operator's word, as for `qila run --upstream`.
    pub upstreams: Vec<String>,
    /// Files of further CA certificates for upstreams.
    pub upstream_ca: Vec<PathBuf>,
    /// Prices of models that go before the built-in ones, as YAML.
    pub prices: Option<String>,
    /// Home directory of whoever runs the node, to find files of credentials.
    pub user_home: Option<String>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be had.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Evidence cannot be written.
    #[error("evidence cannot be written")]
    Evidence(#[from] LogError),
    /// What it remembers cannot be read, or taken up again.
    #[error("{0}")]
    State(ApiError),
}

/// One machine's sandboxes.
#[derive(Clone)]
pub struct Machine {
    core: Arc<Core>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine")
    }
}

impl Machine {
    /// Starts a node, which first takes up again what is there from before. To be called in a tokio runtime with several
    /// threads.
    pub async fn start(config: Config) -> std::result::Result<(Machine, Found), StartError> {
        let home = Home::open(&config.state.join("serve"))?;
        let last = config
            .store
            .last_event()
            .await
            .map_err(|e| StartError::State(crate::fault::store(&e)))?;
        let facts = qila_host::cgroups(Path::new("/sys/fs/cgroup"), Path::new("/proc/self"));
        let state = config.state.clone();
        let core = Arc::new(Core {
            runtime: tokio::runtime::Handle::current(),
            home,
            state: config.state,
            store: config.store,
            launcher: config.launcher,
            evidence: Evidence::new(config.log)?,
            events: Arc::new(Events::new(last)),
            quotas: config.quotas,
            ledger: Ledger::new(config.most),
            shares: Shares::new(facts, &state),
            templates: Default::default(),
            puts: Default::default(),
            unready: Default::default(),
            sandboxes: Default::default(),
            snapshots: Default::default(),
            pools: Pools::default(),
            warmed: Warmed::default(),
            dying: Default::default(),
            endings: Default::default(),
            births: Semaphore::new(BIRTHS),
            layers: Default::default(),
            interpreter: config.interpreter,
            registries: config.registries,
            upstreams: config.upstreams,
            upstream_ca: config.upstream_ca,
            prices: config.prices,
            user_home: config.user_home,
        });
        let begun = async {
            snapshot::load(&core).await?;
            templates::load(&core).await?;
            adopt::leases(&core);
            adopt::all(&core).await
        };
        let found = begun.await.map_err(StartError::State)?;
        tokio::spawn(crate::watch::watch(Arc::downgrade(&core)));
        let ready: Vec<_> = core
            .templates
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        ready.iter().for_each(|t| core.pools.fill(&core, t));
        Ok((Machine { core }, found))
    }

    /// How many sandboxes there are, and how many of them wait in pools.
    pub fn count(&self) -> (usize, usize) {
        let all = self.core.all();
        let pooled = all.iter().filter(|l| l.look(|r| r.pooled)).count();
        (all.len(), pooled)
    }

    /// Ends every sandbox, those of warm programs last: what is beneath them would end with them.
    pub async fn end_all(&self) -> Result<()> {
        self.core.pools.close(&self.core, ENDINGS).await;
        self.core.warmed.clear();
        let (last, first): (Vec<_>, Vec<_>) = self.core.all().into_iter().partition(|l| l.look(|r| r.zygote));
        let mut done = Ok(());
        for live in first.into_iter().chain(last) {
            done = done.and(end(&self.core, &live, Why::Killed).await.map(drop));
        }
        // Those that somebody else has begun to end, too.
        self.endings().await;
        done
    }

    /// Waits for those that are being taken down. Answers how many are left when the time is over.
    async fn endings(&self) -> usize {
        let begun = std::time::Instant::now();
        while self.core.endings.load(Ordering::SeqCst) > 0 && begun.elapsed() < ENDINGS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.core.endings.load(Ordering::SeqCst)
    }

    /// Ends the sandboxes that wait in pools, and forgets all others without ending any: they go on by themselves, without a
    /// network, until a node takes them up again.
    pub async fn abandon(&self) {
        let left = self.core.pools.close(&self.core, ENDINGS).await;
        if left > 0 {
            eprintln!("qila: {left} sandboxes of pools did not end in time: the next start ends them");
        }
        // From here on nobody ends any, neither those that die by themselves nor warm programs whose last one beneath is forgotten.
        let all = self.core.all();
        let kept: Vec<_> = all.into_iter().filter(|live| live.begin_end()).collect();
        let left = self.endings().await;
        if left > 0 {
            eprintln!("qila: {left} sandboxes did not end in time: the next start ends them");
        }
        crate::layers::keep_all(&self.core);
        self.core.shares.let_go();
        let mut tasks = Vec::new();
        for live in kept {
            self.core.forget(&live.id);
            let outside = live.outside.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(outside) = outside {
                let _ = outside.stop.send(()); // one that is over hears nothing
                tasks.push(outside.task);
            }
        }
        // Gateways write down what they have done.
        let all = futures_util::future::join_all(tasks);
        if tokio::time::timeout(ENDINGS, all).await.is_err() {
            eprintln!("qila: gateways did not end in time: they are killed");
        }
        self.core.home.release();
    }

    fn find(&self, tenant: &Tenant, id: &SandboxId) -> Result<Arc<Live>> {
        self.core.find(tenant, id)
    }

    async fn awake(&self, tenant: &Tenant, id: &SandboxId) -> Result<Arc<Live>> {
        lifecycle::awake(&self.core, tenant, id).await
    }
}

/// Part of a list, newest first: what comes after the cursor.
fn page<T>(mut all: Vec<(String, T)>, limit: usize, after: Option<Cursor>) -> Page<T> {
    all.sort_by(|a, b| b.0.cmp(&a.0));
    let mut rest: Vec<(String, T)> = match after {
        Some(Cursor(last)) => all.into_iter().filter(|(key, _)| *key < last).collect(),
        None => all,
    };
    let more = rest.len() > limit;
    rest.truncate(limit);
    let next = rest.last().filter(|_| more).map(|(key, _)| Cursor(key.clone()));
    Page {
        items: rest.into_iter().map(|(_, item)| item).collect(),
        next,
    }
}

#[async_trait]
impl Node for Machine {
    async fn create(&self, tenant: &Tenant, wish: Create) -> Result<Sandbox> {
        lifecycle::create(&self.core, tenant, wish).await
    }

    async fn get(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox> {
        Ok(self.find(tenant, id)?.look(crate::record::Record::tell))
    }

    async fn list(
        &self,
        tenant: &Tenant,
        filter: &Filter,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Sandbox>> {
        let mut all = Vec::new();
        for live in self.core.all() {
            let told = live.look(|r| (r.tenant == *tenant && !r.pooled).then(|| r.tell()));
            let Some(sandbox) = told else { continue };
            let state = filter.states.is_empty() || filter.states.contains(&sandbox.state);
            let words = filter
                .metadata
                .iter()
                .all(|(k, v)| sandbox.metadata.get(k) == Some(v));
            let template = filter.template.as_ref();
            let template =
                template.is_none_or(|t| *t == sandbox.template || sandbox.alias.as_ref() == Some(t));
            if state && words && template {
                all.push((sandbox.id.to_string(), sandbox));
            }
        }
        Ok(page(all, limit, after))
    }

    async fn kill(&self, tenant: &Tenant, id: &SandboxId) -> Result<bool> {
        match self.find(tenant, id) {
            Ok(live) => end(&self.core, &live, Why::Killed).await,
            Err(e) if e.kind == Kind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn set_timeout(
        &self,
        tenant: &Tenant,
        id: &SandboxId,
        timeout: Duration,
        only_extend: bool,
    ) -> Result<Sandbox> {
        lifecycle::set_timeout(&self.core, &self.find(tenant, id)?, timeout, only_extend).await
    }

    async fn pause(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox> {
        lifecycle::pause(&self.core, &self.find(tenant, id)?, false).await
    }

    async fn resume(&self, tenant: &Tenant, id: &SandboxId, timeout: Option<Duration>) -> Result<Sandbox> {
        lifecycle::resume(&self.core, &self.find(tenant, id)?, timeout).await
    }

    async fn snapshot(&self, tenant: &Tenant, id: &SandboxId, name: Option<String>) -> Result<Snapshot> {
        snapshot::take(&self.core, &self.find(tenant, id)?, name).await
    }

    async fn snapshots(
        &self,
        tenant: &Tenant,
        of: Option<&SandboxId>,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Snapshot>> {
        let all = self.core.snapshots.read().unwrap_or_else(PoisonError::into_inner);
        let own = all
            .values()
            .filter(|s| s.tenant == *tenant && of.is_none_or(|id| s.snapshot.sandbox == *id));
        let own = own
            .map(|s| (s.snapshot.id.to_string(), s.snapshot.clone()))
            .collect();
        drop(all);
        Ok(page(own, limit, after))
    }

    async fn remove_snapshot(&self, tenant: &Tenant, id: &SnapshotId) -> Result<bool> {
        snapshot::remove(&self.core, tenant, id).await
    }

    async fn fork(&self, tenant: &Tenant, id: &SandboxId, wish: Fork) -> Result<Sandbox> {
        snapshot::fork(&self.core, tenant, &self.find(tenant, id)?, wish).await
    }

    async fn roll_back(&self, tenant: &Tenant, id: &SandboxId, to: &SnapshotId) -> Result<Sandbox> {
        let live = self.find(tenant, id)?;
        snapshot::roll_back(&self.core, &live, snapshot::find(&self.core, tenant, to)?).await
    }

    async fn exec(&self, tenant: &Tenant, id: &SandboxId, exec: Exec) -> Result<Process> {
        programs::exec(&*self.awake(tenant, id).await?, exec).await
    }

    async fn processes(&self, tenant: &Tenant, id: &SandboxId) -> Result<Vec<ProcessInfo>> {
        programs::running(&*self.awake(tenant, id).await?).await
    }

    async fn attach(&self, tenant: &Tenant, id: &SandboxId, which: &Select, from: Attach) -> Result<Process> {
        programs::attach(&*self.awake(tenant, id).await?, which, from).await
    }

    async fn tell(&self, tenant: &Tenant, id: &SandboxId, which: &Select, what: Input) -> Result<()> {
        programs::tell(&*self.awake(tenant, id).await?, which, what).await
    }

    async fn stat(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<Entry> {
        files::stat(&*self.awake(tenant, id).await?, path).await
    }

    async fn read_dir(&self, tenant: &Tenant, id: &SandboxId, path: &str, depth: u32) -> Result<Vec<Entry>> {
        files::list(&*self.awake(tenant, id).await?, path, depth).await
    }

    async fn read(&self, tenant: &Tenant, id: &SandboxId, path: &str, offset: u64) -> Result<Reader> {
        files::read(&*self.awake(tenant, id).await?, path, offset).await
    }

    async fn write(
        &self,
        tenant: &Tenant,
        id: &SandboxId,
        path: &str,
        mode: Option<u32>,
        bytes: Writer,
    ) -> Result<Entry> {
        files::write(&*self.awake(tenant, id).await?, path, mode, bytes).await
    }

    async fn make_dir(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<Entry> {
        files::make_dir(&*self.awake(tenant, id).await?, path).await
    }

    async fn rename(&self, tenant: &Tenant, id: &SandboxId, from: &str, to: &str) -> Result<Entry> {
        files::rename(&*self.awake(tenant, id).await?, from, to).await
    }

    async fn remove(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<()> {
        files::remove(&*self.awake(tenant, id).await?, path).await
    }

    async fn watch(&self, tenant: &Tenant, id: &SandboxId, path: &str, recursive: bool) -> Result<Watch> {
        files::watch(&*self.awake(tenant, id).await?, path, recursive).await
    }

    async fn connect(&self, tenant: &Tenant, id: &SandboxId, port: u16) -> Result<Pin<Box<dyn Stream>>> {
        programs::connect(&*self.awake(tenant, id).await?, port).await
    }

    async fn metrics(&self, tenant: &Tenant, id: &SandboxId) -> Result<Metrics> {
        metrics::of(&*self.find(tenant, id)?).await
    }

    async fn logs(&self, tenant: &Tenant, id: &SandboxId, limit: usize) -> Result<Vec<LogLine>> {
        self.find(tenant, id)?;
        let events = self.core.events.of(id, limit);
        let line = |e: Event| LogLine {
            time_ms: e.time_ms,
            level: if e.kind == "limit" {
                "warn".into()
            } else {
                "info".into()
            },
            message: e.kind,
            fields: e.fields,
        };
        Ok(events.into_iter().map(line).collect())
    }

    async fn events(&self, tenant: &Tenant, after: Option<u64>) -> Result<mpsc::Receiver<Event>> {
        crate::events::listen(&self.core, tenant, after).await
    }

    async fn templates(&self, tenant: &Tenant) -> Result<Vec<Template>> {
        Ok(templates::list(&self.core, tenant))
    }

    async fn put_template(&self, tenant: &Tenant, template: Template) -> Result<Template> {
        templates::put(&self.core, tenant, template).await
    }

    async fn remove_template(&self, tenant: &Tenant, id: &str) -> Result<bool> {
        templates::remove(&self.core, tenant, id).await
    }

    async fn find(&self, id: &SandboxId) -> Result<Sandbox> {
        let live = self.core.any(id)?;
        let told = live.look(|r| (!r.pooled).then(|| r.tell()));
        told.ok_or_else(|| crate::live::gone(id))
    }
}
