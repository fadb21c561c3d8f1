//! The node itself.
use super::files::{entry, fail, walk, watch, within};
use super::program::{Running, signal};
use async_trait::async_trait;
use qila_api::{
    ApiError, Attach, Authenticator, Create, Cursor, Entry, Event, Exec, Filter, Fork, Input, Kind, LogLine,
    Metrics, Node, OnTimeout, Page, Principal, Process, ProcessId, ProcessInfo, Reader, Result, Sandbox,
    SandboxId, Select, Snapshot, SnapshotId, Source, State, Stream, Template, TemplateState, Tenant, Watch,
    Writer,
};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncSeekExt;
use tokio::sync::mpsc;

pub const KEY: &str = "qila_00000000000000000000000000000000000000000000000000000000000000aa";
pub const ADMIN_KEY: &str = "qila_00000000000000000000000000000000000000000000000000000000000000cc";
pub const OTHER_KEY: &str = "qila_00000000000000000000000000000000000000000000000000000000000000bb";

pub struct Keys;

#[async_trait]
impl Authenticator for Keys {
    async fn authenticate(&self, key: &SecretString) -> Result<Option<Principal>> {
        let tenant = match key.expose_secret() {
            KEY | ADMIN_KEY => "one",
            OTHER_KEY => "two",
            "broken" => return Err(ApiError::new(Kind::Internal, "the node failed")),
            _ => return Ok(None),
        };
        Ok(Some(Principal {
            tenant: Tenant::parse(tenant).unwrap(),
            key: "k".into(),
            admin: key.expose_secret() == ADMIN_KEY,
        }))
    }
}

pub struct Box_ {
    pub sandbox: Sandbox,
    pub wish: Create,
    home: PathBuf,
    programs: Vec<Arc<Running>>,
}

pub struct Fake {
    dir: tempfile::TempDir,
    next: AtomicU64,
    pub boxes: Mutex<BTreeMap<SandboxId, Box_>>,
    snapshots: Mutex<Vec<(Tenant, Snapshot, PathBuf)>>,
    pub templates: Mutex<Vec<(Option<Tenant>, Template)>>,
    pub execs: AtomicU64,
    /// Where what stands in for the interpreter listens, once it was started.
    pub interpreter: Mutex<Option<u16>>,
    /// Whether anything stands in for it.
    pub stands_in: std::sync::atomic::AtomicBool,
}

fn gone(id: &SandboxId) -> ApiError {
    ApiError::not_found(format!("there is no sandbox {id}"))
}

fn now() -> u64 {
    u64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis(),
    )
    .unwrap()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", from.display()))
        .arg(to)
        .status()
        .unwrap();
    assert!(done.success());
}

impl Fake {
    pub fn new() -> Arc<Fake> {
        let base = Template {
            host_login: false,
            id: "base".into(),
            names: vec!["code-interpreter-v1".into()],
            public: true,
            source: Source::Host,
            files: None,
            policy: "offline".into(),
            start: None,
            ready: None,
            pool: 0,
            zygote: None,
            timeout_s: 300,
            state: TemplateState::Ready,
            made_ms: 1,
        };
        let fake = Arc::new(Fake {
            dir: tempfile::tempdir().unwrap(),
            next: AtomicU64::new(1),
            boxes: Mutex::default(),
            snapshots: Mutex::default(),
            templates: Mutex::new(vec![(None, base)]),
            execs: AtomicU64::new(0),
            interpreter: Mutex::default(),
            stands_in: std::sync::atomic::AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&fake);
        tokio::spawn(async move {
            while let Some(fake) = weak.upgrade() {
                let over: Vec<_> = fake.with(|b| {
                    let over = b
                        .values()
                        .filter(|b| b.sandbox.state == State::Running && b.sandbox.ends_ms < now());
                    over.map(|b| {
                        (
                            b.sandbox.id.clone(),
                            b.sandbox.tenant.clone(),
                            b.sandbox.on_timeout,
                        )
                    })
                    .collect()
                });
                for (id, tenant, then) in over {
                    match then {
                        OnTimeout::Kill => drop(fake.kill(&tenant, &id).await),
                        OnTimeout::Pause => drop(fake.pause(&tenant, &id).await),
                    }
                }
                drop(fake);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        fake
    }

    pub fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<SandboxId, Box_>) -> T) -> T {
        work(&mut self.boxes.lock().unwrap())
    }

    fn on<T>(&self, tenant: &Tenant, id: &SandboxId, work: impl FnOnce(&mut Box_) -> T) -> Result<T> {
        self.with(|all| all.get_mut(id).filter(|b| b.sandbox.tenant == *tenant).map(work))
            .ok_or_else(|| gone(id))
    }

    /// The home of one that runs; one that is paused and may is let go on.
    fn awake(&self, tenant: &Tenant, id: &SandboxId) -> Result<PathBuf> {
        self.on(tenant, id, |b| match b.sandbox.state {
            State::Running => Ok(b.home.clone()),
            State::Paused if b.wish.auto_resume => {
                b.all(18);
                b.sandbox.state = State::Running;
                b.sandbox.ends_ms = now() + 60_000;
                Ok(b.home.clone())
            }
            State::Paused => Err(ApiError::new(Kind::Conflict, "it is paused")),
        })?
    }

    fn name(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        format!("box{n:012}")
    }

    fn add(&self, tenant: &Tenant, wish: Create, template: &Template, files: Option<PathBuf>) -> Sandbox {
        let name = self.name();
        let home = self.dir.path().join(&name);
        std::fs::create_dir(&home).unwrap();
        if let Some(files) = files {
            copy(&files, &home);
        }
        let timeout = wish.timeout.unwrap_or(Duration::from_secs(template.timeout_s));
        let token = |on: bool, what: &str| on.then(|| SecretString::from(format!("{what}-of-{name}")));
        let sandbox = Sandbox {
            id: SandboxId::parse(&name).unwrap(),
            tenant: tenant.clone(),
            template: template.id.clone(),
            alias: template.names.first().cloned(),
            state: State::Running,
            started_ms: now(),
            ends_ms: now() + millis(timeout),
            on_timeout: wish.on_timeout,
            metadata: wish.metadata.clone(),
            cpu_milli: 1000,
            memory_mib: 512,
            disk_mib: 1024,
            access_token: token(wish.secure, "access"),
            traffic_token: token(wish.private_ports, "traffic"),
            tier: "none".into(),
        };
        let new = Box_ {
            sandbox: sandbox.clone(),
            wish,
            home,
            programs: Vec::new(),
        };
        self.with(|all| all.insert(sandbox.id.clone(), new));
        sandbox
    }

    async fn running(&self, tenant: &Tenant, id: &SandboxId, which: &Select) -> Result<Arc<Running>> {
        self.awake(tenant, id)?;
        let fits = |p: &&Arc<Running>| match which {
            Select::Pid(pid) => p.pid == pid.0,
            Select::Tag(tag) => p.exec.tag.as_ref() == Some(tag),
        };
        let found = self.on(tenant, id, |b| b.programs.iter().rev().find(fits).cloned())?;
        found
            .filter(|p| !*p.ended.lock().unwrap())
            .ok_or_else(|| ApiError::not_found("there is no such process"))
    }
}

impl Box_ {
    fn all(&self, number: i32) {
        for program in self.programs.iter().filter(|p| !*p.ended.lock().unwrap()) {
            signal(program.pid, number);
        }
    }
}

impl Drop for Box_ {
    fn drop(&mut self) {
        self.all(9);
    }
}

#[async_trait]
impl Node for Fake {
    async fn create(&self, tenant: &Tenant, wish: Create) -> Result<Sandbox> {
        let known = self.templates(tenant).await?;
        let named = |t: &&Template| t.id == wish.template || t.names.contains(&wish.template);
        let template = known
            .iter()
            .find(named)
            .ok_or_else(|| ApiError::not_found("there is no such template"))?;
        if wish.network.deny.iter().any(|d| d == "refused.example") {
            return Err(ApiError::new(Kind::Refused, "no tier here can do that")
                .clause("network.deny")
                .hint("allow it"));
        }
        let files = match &template.source {
            Source::Snapshot(id) => {
                let all = self.snapshots.lock().unwrap();
                all.iter()
                    .find(|(_, s, _)| s.id.as_str() == id)
                    .map(|(_, _, files)| files.clone())
            }
            _ => None,
        };
        Ok(self.add(tenant, wish, template, files))
    }

    async fn get(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox> {
        self.on(tenant, id, |b| b.sandbox.clone())
    }

    async fn list(
        &self,
        tenant: &Tenant,
        filter: &Filter,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Sandbox>> {
        let fits = |s: &Sandbox| {
            s.tenant == *tenant
                && (filter.states.is_empty() || filter.states.contains(&s.state))
                && filter.metadata.iter().all(|(k, v)| s.metadata.get(k) == Some(v))
                && filter
                    .template
                    .as_ref()
                    .is_none_or(|t| *t == s.template || s.alias.as_ref() == Some(t))
                && after.as_ref().is_none_or(|a| s.id.as_str() < a.0.as_str())
        };
        let mut items: Vec<_> =
            self.with(|all| all.values().map(|b| b.sandbox.clone()).filter(fits).collect());
        items.reverse();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|s| Cursor(s.id.to_string()));
        Ok(Page { items, next })
    }

    async fn kill(&self, tenant: &Tenant, id: &SandboxId) -> Result<bool> {
        if self.on(tenant, id, |_| ()).is_err() {
            return Ok(false);
        }
        Ok(self.with(|all| all.remove(id)).is_some())
    }

    async fn set_timeout(
        &self,
        tenant: &Tenant,
        id: &SandboxId,
        timeout: Duration,
        extend: bool,
    ) -> Result<Sandbox> {
        self.on(tenant, id, |b| {
            let end = now() + millis(timeout);
            b.sandbox.ends_ms = if extend { end.max(b.sandbox.ends_ms) } else { end };
            b.sandbox.clone()
        })
    }

    async fn pause(&self, tenant: &Tenant, id: &SandboxId) -> Result<Sandbox> {
        self.on(tenant, id, |b| {
            b.all(19);
            b.sandbox.state = State::Paused;
            b.sandbox.clone()
        })
    }

    async fn resume(&self, tenant: &Tenant, id: &SandboxId, timeout: Option<Duration>) -> Result<Sandbox> {
        self.on(tenant, id, |b| {
            b.all(18);
            let end = now() + millis(timeout.unwrap_or(Duration::from_secs(300)));
            let running = b.sandbox.state == State::Running;
            b.sandbox.ends_ms = if running { end.max(b.sandbox.ends_ms) } else { end };
            b.sandbox.state = State::Running;
            b.sandbox.clone()
        })
    }

    async fn snapshot(&self, tenant: &Tenant, id: &SandboxId, name: Option<String>) -> Result<Snapshot> {
        let (home, template) = self.on(tenant, id, |b| (b.home.clone(), b.sandbox.template.clone()))?;
        let snapshot = Snapshot {
            id: SnapshotId::parse(&self.name()).unwrap(),
            sandbox: id.clone(),
            template,
            name,
            taken_ms: now(),
        };
        let files = self.dir.path().join(snapshot.id.as_str());
        std::fs::create_dir(&files).unwrap();
        copy(&home, &files);
        self.snapshots
            .lock()
            .unwrap()
            .push((tenant.clone(), snapshot.clone(), files));
        Ok(snapshot)
    }

    async fn snapshots(
        &self,
        tenant: &Tenant,
        of: Option<&SandboxId>,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Page<Snapshot>> {
        let all = self.snapshots.lock().unwrap();
        let fits = |s: &Snapshot| {
            of.is_none_or(|of| s.sandbox == *of)
                && after.as_ref().is_none_or(|a| s.id.as_str() < a.0.as_str())
        };
        let mine = all.iter().rev().filter(|(t, s, _)| t == tenant && fits(s));
        let mut items: Vec<_> = mine.map(|(_, s, _)| s.clone()).collect();
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|s| Cursor(s.id.to_string()));
        Ok(Page { items, next })
    }

    async fn remove_snapshot(&self, tenant: &Tenant, id: &SnapshotId) -> Result<bool> {
        let mut all = self.snapshots.lock().unwrap();
        let before = all.len();
        all.retain(|(t, s, _)| t != tenant || s.id != *id);
        Ok(all.len() < before)
    }

    async fn fork(&self, tenant: &Tenant, id: &SandboxId, wish: Fork) -> Result<Sandbox> {
        let (mut like, template, home) = self.on(tenant, id, |b| {
            (b.wish.clone(), b.sandbox.template.clone(), b.home.clone())
        })?;
        like.timeout = wish.timeout.or(like.timeout);
        let known = self.templates(tenant).await?;
        let template = known.into_iter().find(|t| t.id == template).unwrap();
        Ok(self.add(tenant, like, &template, Some(home)))
    }

    async fn roll_back(&self, _: &Tenant, _: &SandboxId, _: &SnapshotId) -> Result<Sandbox> {
        Err(ApiError::new(Kind::Unsupported, "not in this one"))
    }

    async fn exec(&self, tenant: &Tenant, id: &SandboxId, exec: Exec) -> Result<Process> {
        let home = self.awake(tenant, id)?;
        self.execs.fetch_add(1, Ordering::Relaxed);
        let mut exec = exec;
        if exec.argv[0] == "/run/qila/interpreter" && self.stands_in.load(Ordering::Relaxed) {
            assert_eq!(exec.argv, ["/run/qila/interpreter", "interpret"]);
            exec.argv = vec!["sleep".into(), "30".into()];
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::time::sleep(Duration::from_millis(50)).await;
            *self.interpreter.lock().unwrap() = Some(port);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        }
        let environment = self.on(tenant, id, |b| b.wish.environment.clone())?;
        let running = Running::start(&home, exec, environment.into_iter().collect())?;
        self.on(tenant, id, |b| b.programs.push(running.clone()))?;
        Ok(running.listen(false))
    }

    async fn processes(&self, tenant: &Tenant, id: &SandboxId) -> Result<Vec<ProcessInfo>> {
        self.awake(tenant, id)?;
        let info = |p: &Arc<Running>| ProcessInfo {
            pid: ProcessId(p.pid),
            exec: p.exec.clone(),
        };
        self.on(tenant, id, |b| {
            b.programs
                .iter()
                .filter(|p| !*p.ended.lock().unwrap())
                .map(info)
                .collect()
        })
    }

    async fn attach(&self, tenant: &Tenant, id: &SandboxId, which: &Select, _: Attach) -> Result<Process> {
        Ok(self.running(tenant, id, which).await?.listen(true))
    }

    async fn tell(&self, tenant: &Tenant, id: &SandboxId, which: &Select, what: Input) -> Result<()> {
        self.running(tenant, id, which).await?.tell(what).await
    }

    async fn stat(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<Entry> {
        entry(&within(&self.awake(tenant, id)?, path)?)
    }

    async fn read_dir(&self, tenant: &Tenant, id: &SandboxId, path: &str, depth: u32) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        walk(&within(&self.awake(tenant, id)?, path)?, depth, &mut all)?;
        Ok(all)
    }

    async fn read(&self, tenant: &Tenant, id: &SandboxId, path: &str, offset: u64) -> Result<Reader> {
        let path = within(&self.awake(tenant, id)?, path)?;
        let mut file = tokio::fs::File::open(&path).await.map_err(|e| fail(&e))?;
        file.seek(std::io::SeekFrom::Start(offset))
            .await
            .map_err(|e| fail(&e))?;
        Ok(Reader {
            entry: entry(&path)?,
            bytes: Box::pin(file),
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
        let path = within(&self.awake(tenant, id)?, path)?;
        std::fs::create_dir_all(path.parent().unwrap()).map_err(|e| fail(&e))?;
        if path.is_dir() {
            return Err(ApiError::new(Kind::Conflict, "a directory is there"));
        }
        let aside = path.with_extension("half");
        let mut file = tokio::fs::File::create(&aside).await.map_err(|e| fail(&e))?;
        let copied = tokio::io::copy(&mut bytes, &mut file).await;
        let copied = copied.and_then(|_| std::fs::rename(&aside, &path));
        if let Err(e) = copied {
            let _ = std::fs::remove_file(&aside);
            return Err(ApiError::invalid(format!("the bytes broke off: {e}")));
        }
        entry(&path)
    }

    async fn make_dir(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<Entry> {
        let path = within(&self.awake(tenant, id)?, path)?;
        if path.symlink_metadata().is_ok() {
            return Err(ApiError::new(Kind::Conflict, "something is there already"));
        }
        std::fs::create_dir_all(&path).map_err(|e| fail(&e))?;
        entry(&path)
    }

    async fn rename(&self, tenant: &Tenant, id: &SandboxId, from: &str, to: &str) -> Result<Entry> {
        let home = self.awake(tenant, id)?;
        let to = within(&home, to)?;
        std::fs::rename(within(&home, from)?, &to).map_err(|e| fail(&e))?;
        entry(&to)
    }

    async fn remove(&self, tenant: &Tenant, id: &SandboxId, path: &str) -> Result<()> {
        let path = within(&self.awake(tenant, id)?, path)?;
        match path.symlink_metadata() {
            Err(_) => Ok(()),
            Ok(m) if m.is_dir() => std::fs::remove_dir_all(path).map_err(|e| fail(&e)),
            Ok(_) => std::fs::remove_file(path).map_err(|e| fail(&e)),
        }
    }

    async fn watch(&self, tenant: &Tenant, id: &SandboxId, path: &str, recursive: bool) -> Result<Watch> {
        watch(within(&self.awake(tenant, id)?, path)?, recursive)
    }

    async fn connect(&self, tenant: &Tenant, id: &SandboxId, port: u16) -> Result<Pin<Box<dyn Stream>>> {
        self.awake(tenant, id)?;
        let none = |()| ApiError::new(Kind::Conflict, "nothing listens there");
        // What listens on this host's own port is of no sandbox.
        let port = match port {
            49999 => self.interpreter.lock().unwrap().ok_or_else(|| none(()))?,
            port => port,
        };
        Ok(Box::pin(
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .map_err(|_| none(()))?,
        ))
    }

    async fn metrics(&self, tenant: &Tenant, id: &SandboxId) -> Result<Metrics> {
        self.on(tenant, id, |_| Metrics {
            time_ms: now(),
            cpu_count: 1,
            cpu_percent: 1.5,
            memory_used: 1 << 20,
            memory_total: 512 << 20,
            disk_used: 7,
            disk_total: 1 << 30,
        })
    }

    async fn logs(&self, tenant: &Tenant, id: &SandboxId, limit: usize) -> Result<Vec<LogLine>> {
        let line = |level: &str, message: &str| LogLine {
            time_ms: now(),
            level: level.into(),
            message: message.into(),
            fields: BTreeMap::new(),
        };
        let mut lines = vec![line("info", "created"), line("warn", "careful")];
        lines.truncate(limit);
        self.on(tenant, id, |_| lines)
    }

    async fn events(&self, _: &Tenant, _: Option<u64>) -> Result<mpsc::Receiver<Event>> {
        Err(ApiError::new(Kind::Unsupported, "not in this one"))
    }

    async fn templates(&self, tenant: &Tenant) -> Result<Vec<Template>> {
        let all = self.templates.lock().unwrap();
        Ok(all
            .iter()
            .filter(|(t, _)| t.as_ref().is_none_or(|t| t == tenant))
            .map(|(_, t)| t.clone())
            .collect())
    }

    async fn put_template(&self, tenant: &Tenant, mut template: Template) -> Result<Template> {
        if let Source::Image(image) = &template.source {
            return Err(ApiError::new(
                Kind::Unsupported,
                format!("image {image} cannot be fetched"),
            ));
        }
        template.state = TemplateState::Ready;
        self.templates
            .lock()
            .unwrap()
            .push((Some(tenant.clone()), template.clone()));
        Ok(template)
    }

    async fn remove_template(&self, tenant: &Tenant, id: &str) -> Result<bool> {
        let mut all = self.templates.lock().unwrap();
        let before = all.len();
        all.retain(|(t, template)| t.as_ref() != Some(tenant) || template.id != id);
        Ok(all.len() < before)
    }

    async fn find(&self, id: &SandboxId) -> Result<Sandbox> {
        self.with(|all| all.get(id).map(|b| b.sandbox.clone()))
            .ok_or_else(|| gone(id))
    }
}
