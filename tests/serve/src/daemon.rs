//! A daemon with a directory of its own, that may be ended in any way and started again.
use crate::client::Client;
use crate::look::{Marks, leftovers};
use qila_agents::host::{self, Mode};
use qila_agents::skip::Skip;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long it may take until it serves: it takes up what is there first.
const START: Duration = Duration::from_secs(120);
/// How long it may take to end.
const END: Duration = Duration::from_secs(60);

/// As whom the tests run it: as root and as an ordinary user, where both can be had.
pub fn everybody() -> Vec<Mode> {
    let mut all = Vec::new();
    for mode in [Mode::Root, Mode::Unprivileged] {
        match mode.available() {
            Ok(()) => all.push(mode),
            Err(skip) => skip.report(&format!("qila serve as {mode:?}")),
        }
    }
    all
}

/// A daemon. What it leaves at its end is removed, but not its sandboxes: tests end them.
pub struct Daemon {
    child: Option<Child>,
    program: PathBuf,
    /// As whom it runs.
    pub mode: Mode,
    /// Its state.
    pub home: PathBuf,
    /// Its directory and the tests' own.
    pub scratch: tempfile::TempDir,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its admin key.
    pub key: String,
    more: Vec<String>,
}

impl Daemon {
    /// Starts one for the first time.
    pub fn start(mode: Mode, more: &[&str]) -> Result<Daemon, Skip> {
        let scratch = host::scratch();
        let home = scratch.path().join("home");
        std::fs::create_dir(&home).unwrap();
        mode.own(&home);
        Daemon::start_in(mode, more, scratch, home)
    }

    /// Starts one on a directory that is there already.
    pub fn start_in(
        mode: Mode,
        more: &[&str],
        scratch: tempfile::TempDir,
        home: PathBuf,
    ) -> Result<Daemon, Skip> {
        // Of its own path: what runs of it can be told from others'. Copied by another process: a descriptor open for
        // writing, inherited by a fork of a neighbouring test, makes it busy.
        let program = scratch.path().join("qila");
        let copied = Command::new("cp")
            .arg(host::qila()?)
            .arg(&program)
            .status()
            .unwrap();
        assert!(copied.success());
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let mut daemon = Daemon {
            child: None,
            program,
            mode,
            home,
            scratch,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            key: String::new(),
            more: more.iter().map(|w| (*w).to_owned()).collect(),
        };
        daemon.again();
        Ok(daemon)
    }

    /// `qila serve` as it is started, on this address.
    pub fn command(&self, address: SocketAddr) -> Command {
        let mut command = self.mode.command(&self.program);
        command
            .args(["serve", "--listen", &address.to_string()])
            .args(&self.more)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.scratch.path())
            .env("QILA_HOME", &self.home)
            .current_dir(self.scratch.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts it again, where it was.
    pub fn again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let first = self.key.is_empty();
        let mut child = self
            .command(self.address)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("qila starts");
        let (say, said) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for output in outputs {
            let say = say.clone();
            let log = self.log_path();
            std::thread::spawn(move || {
                use std::io::Write;
                let mut log = std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(log)
                    .ok();
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some(log) = &mut log
                        && !line.contains("E2B_API_KEY")
                    {
                        let _ = writeln!(log, "{line}");
                    }
                    let _ = say.send(line);
                }
            });
        }
        self.child = Some(child);
        let until = Instant::now() + START;
        let mut serving = None;
        while serving.is_none() || (first && self.key.is_empty()) {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = said.recv_timeout(left) else {
                panic!("qila serve did not start: {}", self.log());
            };
            if let Some((_, address)) = line.split_once("serving at http://") {
                serving = Some(address.parse().expect("an address"));
            }
            if let Some(key) = line.strip_prefix("export E2B_API_KEY=e2b_") {
                self.key = format!("qila_{key}");
            }
        }
        self.address = serving.unwrap();
    }

    /// A client with the admin's key.
    pub fn client(&self) -> Client {
        Client::new(self.address, &self.key)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What the host shows of it and its sandboxes.
    pub fn marks(&self) -> Marks {
        Marks::of(self.scratch.path())
    }

    fn signal(&mut self, signal: rustix::process::Signal) -> std::process::ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).expect("it can be ended");
        let until = Instant::now() + END;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it without a word (setpriv becomes it, so this is its own process).
    pub fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// Ends it in order.
    pub fn terminate(&mut self) {
        let status = self.signal(rustix::process::Signal::TERM);
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Ends it in order, and waits: nothing of it or of its sandboxes may be left.
    pub fn end_clean(&mut self, marks: &Marks) {
        self.terminate();
        let left = leftovers(marks, &self.home);
        assert!(left.is_empty(), "left: {left:#?}");
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// The end of what it said.
    pub fn log(&self) -> String {
        let all = std::fs::read(self.log_path()).unwrap_or_default();
        let from = all.len().saturating_sub(8 << 10);
        String::from_utf8_lossy(all.get(from..).unwrap_or_default()).into_owned()
    }

    /// What it said that is no request, from the first start on.
    pub fn said(&self) -> Vec<String> {
        let all = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let own = all.lines().filter(|l| l.starts_with("qila:"));
        own.map(str::to_owned).collect()
    }

    /// What it keeps beneath a directory of its state.
    pub fn kept(&self, dir: &str) -> Vec<PathBuf> {
        let path: &Path = &self.home.join(dir);
        std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect()
    }
}

impl Drop for Daemon {
    /// Also when a test fails: nothing of it goes on. Processes of sandboxes are known by the path of their guest.
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        crate::look::end_all(&self.marks());
    }
}
