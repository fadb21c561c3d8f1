//! A node in memory.
use crate::inside::program;
use async_trait::async_trait;
use qila_api::*;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

#[derive(Default)]
pub struct Fake {
    pub sandboxes: Mutex<BTreeMap<String, Sandbox>>,
    pub snapshots: Mutex<Vec<(Tenant, Snapshot)>>,
    pub templates: Mutex<Vec<(Tenant, Template)>>,
    pub files: Mutex<HashMap<String, Vec<u8>>>,
    pub ports: Mutex<HashMap<u16, SocketAddr>>,
    pub inputs: Mutex<HashMap<u32, mpsc::Sender<Input>>>,
    /// How programs that read nothing are ended.
    pub busy: Mutex<HashMap<u32, mpsc::Sender<i32>>>,
    /// Signals that were sent, by process.
    pub signals: std::sync::Arc<Mutex<Vec<(u32, i32)>>>,
    pub created: AtomicUsize,
    pub create_takes: Mutex<Duration>,
    /// Creations and programs that were asked for.
    pub begun: AtomicUsize,
    /// Whether none of them goes on.
    pub hold: AtomicBool,
    /// So often nothing can be told to a program.
    pub deaf: AtomicUsize,
    /// Files of which not all came.
    pub broke_off: AtomicUsize,
    /// What the next creation fails with.
    pub fails: Mutex<Option<ApiError>>,
    pub traffic_token: Mutex<Option<String>>,
    next: AtomicU64,
}

fn none<T>(what: &str) -> Result<T> {
    Err(ApiError::not_found(format!("there is no {what}")))
}

impl Fake {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
        while self.hold.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn has_begun(&self, n: usize) -> bool {
        self.begun.load(Ordering::SeqCst) >= n
    }

    fn own(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox> {
        let all = self.sandboxes.lock().unwrap();
        match all.get(id.as_str()).filter(|s| s.tenant == *tenant) {
            Some(sandbox) => Ok(sandbox.clone()),
            None => none("such sandbox"),
        }
    }

    fn change(&self, tenant: &Tenant, id: &SandboxId, with: impl FnOnce(&mut Sandbox)) -> Result<Sandbox> {
        self.own(tenant, id)?;
        let mut all = self.sandboxes.lock().unwrap();
        let sandbox = all.get_mut(id.as_str()).unwrap();
        with(sandbox);
        Ok(sandbox.clone())
    }

    pub fn make(&self, tenant: &Tenant, wish: Create) -> Sandbox {
        let n = self.number();
        let sandbox = Sandbox {
            id: SandboxId::parse(&format!("s{n:06}")).unwrap(),
            tenant: tenant.clone(),
            template: wish.template,
            alias: None,
            state: State::Running,
            started_ms: n,
            ends_ms: n + 300_000,
            on_timeout: wish.on_timeout,
            metadata: wish.metadata,
            cpu_milli: 1000,
            memory_mib: 512,
            disk_mib: 1024,
            access_token: wish.secure.then(|| "its-own".into()),
            traffic_token: self.traffic_token.lock().unwrap().clone().map(Into::into),
            tier: "container".into(),
        };
        self.created.fetch_add(1, Ordering::SeqCst);
        self.sandboxes
            .lock()
            .unwrap()
            .insert(sandbox.id.to_string(), sandbox.clone());
        sandbox
    }

    fn entry(path: &str, size: usize) -> Entry {
        Entry {
            name: path.rsplit('/').next().unwrap().into(),
            path: path.into(),
            kind: EntryKind::File,
            target_kind: None,
            target: None,
            size: size as u64,
            mode: 0o644,
            owner: "user".into(),
            group: "user".into(),
            modified_ms: 1,
        }
    }
}

#[async_trait]
impl Node for Fake {
    async fn create(&self, tenant: &Tenant, wish: Create) -> Result<Sandbox> {
        self.begin().await;
        let takes = *self.create_takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        if let Some(error) = self.fails.lock().unwrap().take() {
            return Err(error);
        }
        Ok(self.make(tenant, wish))
    }
    async fn get(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox> {
        self.own(tenant, id)
    }
    async fn list(
        &self,
        tenant: &Tenant,
        filter: &Filter,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Sandbox>> {
        let all = self.sandboxes.lock().unwrap();
        let wanted = |s: &&Sandbox| {
            s.tenant == *tenant
                && (filter.states.is_empty() || filter.states.contains(&s.state))
                && filter.metadata.iter().all(|(k, v)| s.metadata.get(k) == Some(v))
                && filter.template.as_ref().is_none_or(|t| *t == s.template)
                && after.as_ref().is_none_or(|c| s.id.as_str() < c.0.as_str())
        };
        let items: Vec<_> = all
            .values()
            .rev()
            .filter(wanted)
            .take(limit + 1)
            .cloned()
            .collect();
        let more = items.len() > limit;
        let items: Vec<_> = items.into_iter().take(limit).collect();
        let next = items.last().filter(|_| more).map(|s| Cursor(s.id.to_string()));
        Ok(Page { items, next })
    }
    async fn kill(&self, tenant: &Tenant, id: &SandboxId) -> Result<bool> {
        if self.own(tenant, id).is_err() {
            return Ok(false);
        }
        Ok(self.sandboxes.lock().unwrap().remove(id.as_str()).is_some())
    }
    async fn set_timeout(
        &self,
        tenant: &Tenant,
        id: &SandboxId,
        timeout: Duration,
        _: bool,
    ) -> Result<Sandbox> {
        self.change(tenant, id, |s| {
            s.ends_ms = s.started_ms + timeout.as_millis() as u64
        })
    }
    async fn pause(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox> {
        self.change(tenant, id, |s| s.state = State::Paused)
    }
    async fn resume(&self, tenant: &Tenant, id: &SandboxId, _: Option<Duration>) -> Result<Sandbox> {
        self.change(tenant, id, |s| s.state = State::Running)
    }
    async fn snapshot(&self, tenant: &Tenant, id: &SandboxId, name: Option<String>) -> Result<Snapshot> {
        let sandbox = self.own(tenant, id)?;
        let snapshot = Snapshot {
            id: SnapshotId::parse(&format!("n{:06}", self.number())).unwrap(),
            sandbox: sandbox.id,
            template: sandbox.template,
            name,
            taken_ms: 1,
        };
        self.snapshots
            .lock()
            .unwrap()
            .push((tenant.clone(), snapshot.clone()));
        Ok(snapshot)
    }
    async fn snapshots(
        &self,
        tenant: &Tenant,
        of: Option<&SandboxId>,
        limit: usize,
        _: Option<Cursor>,
    ) -> Result<Page<Snapshot>> {
        if let Some(id) = of {
            self.own(tenant, id)?;
        }
        let all = self.snapshots.lock().unwrap();
        let items = all
            .iter()
            .filter(|(t, s)| t == tenant && of.is_none_or(|id| s.sandbox == *id));
        Ok(Page {
            items: items.map(|(_, s)| s.clone()).take(limit).collect(),
            next: None,
        })
    }
    async fn remove_snapshot(&self, tenant: &Tenant, id: &SnapshotId) -> Result<bool> {
        let mut all = self.snapshots.lock().unwrap();
        let before = all.len();
        all.retain(|(t, s)| t != tenant || s.id != *id);
        Ok(all.len() < before)
    }
    async fn fork(&self, tenant: &Tenant, id: &SandboxId, _: Fork) -> Result<Sandbox> {
        let from = self.own(tenant, id)?;
        Ok(self.make(tenant, Create::from_template(from.template)))
    }
    async fn roll_back(&self, tenant: &Tenant, id: &SandboxId, to: &SnapshotId) -> Result<Sandbox> {
        let sandbox = self.own(tenant, id)?;
        let all = self.snapshots.lock().unwrap();
        match all.iter().any(|(t, s)| t == tenant && s.id == *to) {
            true => Ok(sandbox),
            false => none("such snapshot"),
        }
    }
    async fn exec(&self, tenant: &Tenant, id: &SandboxId, exec: Exec) -> Result<Process> {
        self.own(tenant, id)?;
        self.begin().await;
        let pid = ProcessId(self.number() as u32);
        let (out, output) = mpsc::channel(4);
        let (input, taken) = mpsc::channel(4);
        self.inputs.lock().unwrap().insert(pid.0, input.clone());
        let (end, ends) = mpsc::channel(1);
        if exec.argv == ["busy"] {
            self.busy.lock().unwrap().insert(pid.0, end);
        }
        tokio::spawn(program(pid.0, exec, out, taken, ends, self.signals.clone()));
        Ok(Process { pid, output, input })
    }
    async fn processes(&self, tenant: &Tenant, id: &SandboxId) -> Result<Vec<ProcessInfo>> {
        self.own(tenant, id)?;
        Ok(vec![ProcessInfo {
            pid: ProcessId(1),
            exec: Exec {
                argv: vec!["cat".into()],
                ..Exec::default()
            },
        }])
    }
    async fn attach(&self, tenant: &Tenant, id: &SandboxId, which: &Select, from: Attach) -> Result<Process> {
        self.own(tenant, id)?;
        let Select::Pid(pid) = which else {
            return none("such process");
        };
        let Some(input) = self.inputs.lock().unwrap().get(&pid.0).cloned() else {
            return none("such process");
        };
        let (out, output) = mpsc::channel(4);
        let said = format!("{from:?}");
        tokio::spawn(async move {
            let _ = out.send(Output::Stdout(said.into())).await;
            let _ = out
                .send(Output::Ended(Status {
                    code: Some(0),
                    signal: None,
                }))
                .await;
        });
        Ok(Process {
            pid: *pid,
            output,
            input,
        })
    }
    async fn tell(&self, tenant: &Tenant, id: &SandboxId, which: &Select, what: Input) -> Result<()> {
        self.own(tenant, id)?;
        let Select::Pid(pid) = which else {
            return none("such process");
        };
        let less = |n: usize| n.checked_sub(1);
        if self
            .deaf
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok()
        {
            let retry_after = Duration::from_secs(1);
            return Err(ApiError::new(Kind::Busy { retry_after }, "not now"));
        }
        // A signal does not wait behind what is not read.
        if let (Input::Signal(signal), Some(end)) = (&what, self.busy.lock().unwrap().get(&pid.0)) {
            self.signals.lock().unwrap().push((pid.0, *signal));
            let _ = end.try_send(*signal);
            return Ok(());
        }
        let input = self.inputs.lock().unwrap().get(&pid.0).cloned();
        match input {
            Some(input) => input.send(what).await.or_else(|_| none("such process")),
            None => none("such process"),
        }
    }
    async fn stat(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<Entry> {
        self.own(tenant, id)?;
        match self.files.lock().unwrap().get(path) {
            Some(bytes) => Ok(Fake::entry(path, bytes.len())),
            None => none("such file"),
        }
    }
    async fn read_dir(&self, tenant: &Tenant, id: &SandboxId, _: &str, _: u32) -> Result<Vec<Entry>> {
        self.own(tenant, id)?;
        let all = self.files.lock().unwrap();
        Ok(all
            .iter()
            .map(|(path, bytes)| Fake::entry(path, bytes.len()))
            .collect())
    }
    async fn read(&self, tenant: &Tenant, id: &SandboxId, path: &str, offset: u64) -> Result<Reader> {
        let entry = self.stat(tenant, id, path).await?;
        let bytes = self.files.lock().unwrap()[path][offset as usize..].to_vec();
        Ok(Reader {
            entry,
            bytes: Box::pin(std::io::Cursor::new(bytes)),
        })
    }
    async fn write(
        &self,
        tenant: &Tenant,
        id: &SandboxId,
        path: &str,
        _: Option<u32>,
        mut bytes: Writer,
    ) -> Result<Entry> {
        self.own(tenant, id)?;
        let mut whole = Vec::new();
        let read = bytes.read_to_end(&mut whole).await;
        read.map_err(|e| {
            self.broke_off.fetch_add(1, Ordering::SeqCst);
            ApiError::invalid(format!("the bytes ended early: {e}"))
        })?;
        let entry = Fake::entry(path, whole.len());
        self.files.lock().unwrap().insert(path.into(), whole);
        Ok(entry)
    }
    async fn make_dir(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<Entry> {
        self.own(tenant, id)?;
        Ok(Fake::entry(path, 0))
    }
    async fn rename(&self, tenant: &Tenant, id: &SandboxId, from: &str, to: &str) -> Result<Entry> {
        self.own(tenant, id)?;
        let mut all = self.files.lock().unwrap();
        let Some(bytes) = all.remove(from) else {
            return none("such file");
        };
        let entry = Fake::entry(to, bytes.len());
        all.insert(to.into(), bytes);
        Ok(entry)
    }
    async fn remove(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<()> {
        self.own(tenant, id)?;
        self.files.lock().unwrap().remove(path);
        Ok(())
    }
    async fn watch(&self, tenant: &Tenant, id: &SandboxId, _: &str, _: bool) -> Result<Watch> {
        self.own(tenant, id)?;
        let (send, events) = mpsc::channel(4);
        let event = FileEvent {
            name: "a".into(),
            change: Change::Create,
        };
        send.try_send(event).unwrap();
        Ok(Watch { events })
    }
    async fn connect(&self, tenant: &Tenant, id: &SandboxId, port: u16) -> Result<Pin<Box<dyn Stream>>> {
        self.own(tenant, id)?;
        let at = self.ports.lock().unwrap().get(&port).copied();
        let closed = || ApiError::new(Kind::Conflict, "nothing listens");
        let stream = tokio::net::TcpStream::connect(at.ok_or_else(closed)?).await;
        Ok(Box::pin(stream.map_err(|_| closed())?))
    }
    async fn metrics(&self, tenant: &Tenant, id: &SandboxId) -> Result<Metrics> {
        self.own(tenant, id)?;
        Ok(Metrics::default())
    }
    async fn logs(&self, tenant: &Tenant, id: &SandboxId, _: usize) -> Result<Vec<LogLine>> {
        self.own(tenant, id)?;
        Ok(vec![])
    }
    async fn events(&self, _: &Tenant, after: Option<u64>) -> Result<mpsc::Receiver<Event>> {
        let (send, events) = mpsc::channel(8);
        let after = after.unwrap_or(0);
        tokio::spawn(async move {
            for seq in after + 1..after + 4 {
                let event = Event {
                    seq,
                    time_ms: 1,
                    sandbox: SandboxId::parse("s1").unwrap(),
                    kind: "created".into(),
                    fields: BTreeMap::new(),
                };
                if send.send(event).await.is_err() {
                    return;
                }
            }
            // It goes on, as events do, until nobody listens.
            send.closed().await;
        });
        Ok(events)
    }
    async fn templates(&self, tenant: &Tenant) -> Result<Vec<Template>> {
        let all = self.templates.lock().unwrap();
        Ok(all
            .iter()
            .filter(|(t, _)| t == tenant)
            .map(|(_, t)| t.clone())
            .collect())
    }
    async fn put_template(&self, tenant: &Tenant, template: Template) -> Result<Template> {
        self.templates
            .lock()
            .unwrap()
            .push((tenant.clone(), template.clone()));
        Ok(template)
    }
    async fn remove_template(&self, tenant: &Tenant, id: &str) -> Result<bool> {
        let mut all = self.templates.lock().unwrap();
        let before = all.len();
        all.retain(|(t, template)| t != tenant || template.id != id);
        Ok(all.len() < before)
    }
    async fn find(&self, id: &SandboxId) -> Result<Sandbox> {
        let all = self.sandboxes.lock().unwrap();
        all.get(id.as_str())
            .cloned()
            .map_or_else(|| none("such sandbox"), Ok)
    }
}
