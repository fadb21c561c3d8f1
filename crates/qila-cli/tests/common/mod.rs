//! A place to run `qila` in, as root and as an unprivileged user, judged from outside.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// User and group of the unprivileged runs.
const NOBODY: &str = "65533";

pub const TIERS: [&str; 2] = ["container", "process"];

/// The tiers of a check: `QILA_TEST_TIERS` names others, with commas between.
fn tiers() -> Vec<String> {
    match std::env::var("QILA_TEST_TIERS") {
        Ok(named) => named.split(',').map(str::to_owned).collect(),
        Err(_) => TIERS.map(str::to_owned).to_vec(),
    }
}

/// Who runs `qila`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs the tests.
    Me,
    /// An unprivileged user, when root runs the tests.
    Nobody,
}

/// Both, where both can be had.
pub fn everybody() -> Vec<Who> {
    let root = Path::new("/proc/self")
        .metadata()
        .is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if root {
        vec![Who::Me, Who::Nobody]
    } else {
        println!("skipped: the runs as root: the tests were not started as root");
        vec![Who::Me]
    }
}

/// A directory with a workspace, a state directory and a copy of the program.
pub struct Place {
    dir: tempfile::TempDir,
    who: Who,
}

impl Place {
    pub fn new(who: Who) -> Place {
        let dir = tempfile::Builder::new()
            .prefix("qila-test-")
            .tempdir_in("/var/tmp")
            .unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let place = Place { dir, who };
        for name in ["ws", "state", "home"] {
            let path = place.path(name);
            std::fs::create_dir(&path).unwrap();
            place.give(&path);
        }
        let program = place.path("qila");
        // By another process: a descriptor open for writing, inherited by a fork of a neighbouring test, makes it busy.
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_qila"))
            .arg(&program)
            .status()
            .unwrap();
        assert!(copied.success());
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Hands a path over to the user who runs `qila`.
    pub fn give(&self, path: &Path) {
        if self.who == Who::Nobody {
            let id = Some(NOBODY.parse().unwrap());
            std::os::unix::fs::chown(path, id, id).unwrap();
        }
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        self.give(&path);
        path
    }

    /// `qila` with these arguments, in the workspace.
    pub fn qila(&self, args: &[&str]) -> Command {
        self.beneath(&[], args)
    }

    /// `qila` with these arguments, started by another program.
    pub fn beneath(&self, starter: &[&str], args: &[&str]) -> Command {
        let user = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
        let program = self.path("qila");
        let mut words: Vec<&std::ffi::OsStr> = match self.who {
            Who::Me => Vec::new(),
            Who::Nobody => user.iter().map(std::ffi::OsStr::new).collect(),
        };
        words.extend(starter.iter().map(std::ffi::OsStr::new));
        words.push(program.as_os_str());
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
            .args(args)
            .current_dir(self.path("ws"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.path("home"))
            .env("QILA_HOME", self.path("state"))
            .stdin(Stdio::null());
        command
    }

    /// `qila run` of a command under a policy, to be started.
    pub fn run(&self, policy: &str, tier: &str, command: &[&str]) -> Command {
        let args = ["run", "-q", "--policy", policy, "--isolation", tier, "--"];
        self.qila(&[&args[..], command].concat())
    }

    /// Runs a shell script in a sandbox under a policy.
    pub fn sh(&self, policy: &str, tier: &str, script: &str) -> Output {
        self.run(policy, tier, &["sh", "-c", script]).output().unwrap()
    }

    /// A policy that extends `offline`; its path.
    pub fn policy(&self, name: &str, rest: &str) -> String {
        let path = self.write(name, &format!("version: 1\nextends: offline\n{rest}\n"));
        path.to_str().unwrap().to_owned()
    }

    /// Runs that left something in the state directory.
    pub fn runs(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.path("state/runs"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .collect()
    }
}

pub fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command whose input is this, written while its output is read.
pub fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        let feeder = scope.spawn(move || to.write_all(input));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap().unwrap();
        output
    })
}

/// Runs a check on every tier, as everybody.
pub fn everywhere(check: impl Fn(&Place, &str)) {
    for who in everybody() {
        for tier in tiers() {
            println!("{tier} as {who:?}");
            check(&Place::new(who), &tier);
        }
    }
}
