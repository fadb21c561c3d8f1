//! What all cases share: one node, two tenants.
use qila_api::{Create, Exec, Node, Output, Quota, Quotas, Sandbox, SandboxId, Status, Tenant};
use qila_node::{Config, Launcher, Machine};
use std::future::Future;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

pub type Case = for<'a> fn(&'a Bench) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! cases {
    ($($module:ident: $($name:ident),* $(,)?;)*) => {
        /// All of them.
        pub fn all() -> Vec<(&'static str, Case)> {
            vec![$($((concat!(stringify!($module), "::", stringify!($name)), |b| Box::pin(crate::$module::$name(b))),)*)*]
        }
    };
}

cases! {
    lives: hello, streams, terminal, signals, background, pause, timeouts, limits, processes, quotas, adopted, closed_network;
    pools: taken, anew;
    fair: shares;
    kept: snapshots, forks, busy_fork;
    warm: forks, found_again;
    crash: pool_and_fork;
    files: whole, hostile, watching, large;
}

struct Open;

impl Quotas for Open {
    fn quota(&self, tenant: &Tenant) -> Quota {
        match tenant.as_str() {
            "poor" => Quota {
                sandboxes: 2,
                ..Quota::NONE
            },
            _ => Quota::NONE,
        }
    }
}

/// A node, and what starts another one on its directory.
pub struct Bench {
    pub dir: PathBuf,
    launchers: Mutex<Vec<Launcher>>,
    machine: Mutex<Option<Machine>>,
    others: Mutex<Vec<Arc<Bench>>>,
    _keep: Option<tempfile::TempDir>,
}

impl Bench {
    pub fn new() -> Bench {
        let keep = tempfile::tempdir().unwrap();
        let bench = Bench::at(keep.path(), 8);
        Bench {
            _keep: Some(keep),
            ..bench
        }
    }

    /// On a directory that somebody else keeps, for so many nodes one after the other.
    pub fn at(dir: &Path, nodes: usize) -> Bench {
        let home = std::fs::File::open(dir).unwrap();
        let guest = || qila_embedded::open(home.as_fd()).unwrap();
        // One for each node that is started: there are threads afterwards.
        let launchers = (0..nodes).map(|_| Launcher::start(guest()).unwrap()).collect();
        Bench {
            dir: dir.to_owned(),
            launchers: Mutex::new(launchers),
            machine: Mutex::new(None),
            others: Mutex::default(),
            _keep: None,
        }
    }

    /// Another one, on a directory of its own, for one node. It ends when this one does.
    pub fn beside(&self) -> Arc<Bench> {
        let keep = tempfile::tempdir().unwrap();
        let launcher = self.launchers.lock().unwrap().pop();
        let bench = Arc::new(Bench {
            dir: keep.path().to_owned(),
            launchers: Mutex::new(launcher.into_iter().collect()),
            machine: Mutex::new(None),
            others: Mutex::default(),
            _keep: Some(keep),
        });
        self.others.lock().unwrap().push(bench.clone());
        bench
    }

    /// The node, started when it is first asked for.
    pub async fn node(&self) -> Machine {
        if let Some(machine) = self.machine.lock().unwrap().clone() {
            return machine;
        }
        let (machine, _) = self.start().await;
        machine
    }

    /// Starts a node on the directory.
    pub async fn start(&self) -> (Machine, qila_node::Found) {
        let evidence = self.dir.join("evidence");
        std::fs::create_dir_all(&evidence).unwrap();
        std::fs::set_permissions(&evidence, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::create_dir_all(self.dir.join("serve")).unwrap();
        let config = Config {
            state: self.dir.clone(),
            launcher: self.launchers.lock().unwrap().pop().expect("a launcher is left"),
            store: qila_store::Store::open(&self.dir.join("serve/state.db")).unwrap(),
            log: qila_evidence::Log::open(std::fs::File::open(&evidence).unwrap().as_fd()).unwrap(),
            quotas: Arc::new(Open),
            most: 1000,
            interpreter: None,
            registries: Vec::new(),
            upstreams: Vec::new(),
            upstream_ca: Vec::new(),
            prices: None,
            user_home: None,
        };
        let (machine, found) = Machine::start(config).await.unwrap();
        *self.machine.lock().unwrap() = Some(machine.clone());
        (machine, found)
    }

    /// Drops the node as if its process had been killed: nothing is told to end.
    pub fn forget(&self) {
        self.machine.lock().unwrap().take();
    }

    /// Ends everything.
    pub async fn end(&self) {
        let others = self.others.lock().unwrap().clone();
        for bench in others.iter().map(|b| &**b).chain([self]) {
            let machine = bench.machine.lock().unwrap().clone();
            if let Some(machine) = machine {
                let _ = machine.end_all().await;
            }
        }
    }

    /// Ends everything, and looks whether anything is left.
    pub async fn done(&self) {
        let Some(machine) = self.machine.lock().unwrap().clone() else {
            return;
        };
        machine.end_all().await.unwrap();
        for snapshot in machine
            .snapshots(&tenant(), None, 1000, None)
            .await
            .unwrap()
            .items
        {
            machine.remove_snapshot(&tenant(), &snapshot.id).await.unwrap();
        }
        let left = |name: &str| {
            std::fs::read_dir(self.dir.join("serve").join(name))
                .unwrap()
                .count()
        };
        assert_eq!((left("s"), left("layers")), (0, 0), "directories are left");
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let Ok(inner) = std::fs::read_dir(hierarchy.path()) else {
                continue;
            };
            for entry in inner.flatten() {
                let inner = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
                let mine = std::iter::once(entry)
                    .chain(inner)
                    .map(|e| e.file_name().into_string().unwrap())
                    .find(|n| self.made(n));
                assert_eq!(mine, None, "a cgroup is left in {:?}", hierarchy.path());
            }
        }
    }

    fn made(&self, cgroup: &str) -> bool {
        let log = std::fs::read(self.dir.join("evidence/log")).unwrap_or_default();
        cgroup
            .strip_prefix("qila-")
            .is_some_and(|id| String::from_utf8_lossy(&log).contains(id))
    }
}

pub fn tenant() -> Tenant {
    Tenant::parse("one").unwrap()
}

pub async fn sandbox(node: &Machine) -> Sandbox {
    node.create(&tenant(), Create::from_template("base"))
        .await
        .unwrap()
}

pub fn shell(command: &str) -> Exec {
    Exec {
        argv: vec!["/bin/sh".into(), "-c".into(), command.into()],
        ..Exec::default()
    }
}

/// Runs a command to its end: status, standard output and standard error.
pub async fn run(node: &Machine, id: &SandboxId, command: &str) -> (Status, String, String) {
    let process = node.exec(&tenant(), id, shell(command)).await.unwrap();
    finish(process).await
}

pub async fn finish(mut process: qila_api::Process) -> (Status, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(said) = process.output.recv().await {
        match said {
            Output::Stdout(bytes) | Output::Terminal(bytes) => out.extend(bytes),
            Output::Stderr(bytes) => err.extend(bytes),
            Output::Lost(n) => panic!("{n} bytes were lost"),
            Output::Ended(status) => {
                let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
                return (status, text(out), text(err));
            }
        }
    }
    panic!("the sandbox vanished");
}

pub fn code(n: i32) -> Status {
    Status {
        code: Some(n),
        signal: None,
    }
}
