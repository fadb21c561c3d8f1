//! Where things are on this host, and as whom Qila is run.
use crate::skip::Skip;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user that the unprivileged checks run as when the tests themselves run as root: not `nobody`, who may own things.
const UNPRIVILEGED: u32 = 65533;

/// This folder's fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Where `setup.sh` installs the agents.
pub fn tools() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap();
    root.join("target/agents")
}

/// The `qila` binary under test: `QILA_BIN`, or the one that lies beside this test in the target directory.
pub fn qila() -> Result<PathBuf, Skip> {
    if let Some(path) = std::env::var_os("QILA_BIN") {
        return Ok(PathBuf::from(path).canonicalize().expect("QILA_BIN names a file"));
    }
    // …/target/PROFILE/deps/TEST-HASH
    let profile = std::env::current_exe()
        .unwrap()
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .to_owned();
    let path = profile.join("qila");
    path.is_file()
        .then_some(path)
        .ok_or_else(|| Skip::because("no qila binary: build it first, or set QILA_BIN"))
}

/// The user this test runs as.
pub fn uid() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// As whom Qila is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As root.
    Root,
    /// As an ordinary user.
    Unprivileged,
}

impl Mode {
    /// Whether this mode can be had here.
    pub fn available(self) -> Result<(), Skip> {
        match (self, uid()) {
            (Mode::Root, 0) => Ok(()),
            (Mode::Root, _) => Err(Skip::because("these tests do not run as root")),
            (Mode::Unprivileged, 0) => Command::new("setpriv")
                .args(["--reuid", "65533", "--regid", "65533", "--clear-groups", "true"])
                .status()
                .is_ok_and(|s| s.success())
                .then_some(())
                .ok_or_else(|| Skip::because("setpriv (util-linux) does not work here")),
            (Mode::Unprivileged, _) => Ok(()),
        }
    }

    /// A command that will run in this mode.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if self == Mode::Unprivileged && uid() == 0 {
            let id = UNPRIVILEGED.to_string();
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
                .arg(program);
            return command;
        }
        Command::new(program)
    }

    /// Gives a tree to the user of this mode.
    pub fn own(self, path: &Path) {
        if self == Mode::Root || uid() != 0 {
            return;
        }
        std::os::unix::fs::lchown(path, Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
        if path.is_dir() && !path.is_symlink() {
            for entry in std::fs::read_dir(path).unwrap() {
                self.own(&entry.unwrap().path());
            }
        }
    }

    /// Whether the user of this mode can read and execute `path`.
    pub fn reaches(self, path: &Path) -> Result<(), Skip> {
        let status = self.command("test").arg("-x").arg(path).status();
        status
            .is_ok_and(|s| s.success())
            .then_some(())
            .ok_or_else(|| Skip::because(format!("the unprivileged user does not reach {}", path.display())))
    }
}

/// A fresh directory that every user can pass through; not on a tmpfs, which some kernels cannot overlay for all.
pub fn scratch() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("qila-agents-")
        .tempdir_in("/var/tmp")
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Whether this host has what a tier needs.
pub fn has_tier(tier: &str) -> bool {
    let Ok(qila) = qila() else { return false };
    let Ok(out) = Command::new(qila).args(["doctor", "--json"]).output() else {
        return false;
    };
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let Some(found) = said["tiers"]
        .as_array()
        .and_then(|all| all.iter().find(|t| t["tier"] == tier && t["usable"] == true))
    else {
        return false;
    };
    // An engine that does nothing on this host by itself does nothing for Qila.
    found["engine"]["program"].as_str().is_none_or(|engine| {
        Command::new(engine)
            .args([
                "--platform=ptrace",
                "--network=none",
                "--ignore-cgroups",
                "do",
                "true",
            ])
            .status()
            .is_ok_and(|s| s.success())
    })
}
