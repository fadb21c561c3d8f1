//! Where a scene is built: its directories, its canaries, its listeners, its victims.
use crate::canary::random;
use crate::case::{Alive, Place, Scene};
use crate::compile::Programs;
use crate::hosts::{Reply, TcpHost, sink};
use crate::policy::Policy;
use crate::target::Target;
use crate::user::{User, own_uid};
use crate::world::World;
use std::fs::{self, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all scenes of one column of the matrix share.
#[derive(Clone)]
pub struct Context {
    /// What is attacked.
    pub target: Target,
    /// As whom.
    pub user: User,
    /// The network.
    pub world: Arc<World>,
    /// The attack programs.
    pub programs: Programs,
    /// Scratch directory of the suite.
    pub scratch: PathBuf,
}

/// A program of the harness that ends with the scene.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The stage of one scene.
pub struct Stage {
    /// What all scenes share.
    pub cx: Context,
    /// Whether the twin is staged.
    pub twin: bool,
    /// Directory of the scene.
    pub dir: PathBuf,
    /// The unique name that every process of the attack program has.
    pub comm: String,
    /// Paths that keep their owner.
    pub keep_owner: Vec<PathBuf>,
}

impl Stage {
    /// An empty stage.
    pub fn open(cx: &Context, name: &str, twin: bool) -> io::Result<Stage> {
        let dir = cx.scratch.join(format!("{name}-{}", random(4)?));
        for sub in ["ws", "home", "host", "tools", "qila"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let comm = format!("x{}", random(6)?);
        Ok(Stage {
            cx: cx.clone(),
            twin,
            dir,
            comm,
            keep_owner: Vec::new(),
        })
    }

    /// Gives everything to the user of this column.
    pub fn hand_over(&self) -> io::Result<()> {
        let uid = self.cx.user.uid(own_uid());
        if uid == own_uid() {
            Ok(())
        } else {
            self.give(&self.dir, uid)
        }
    }

    fn give(&self, path: &Path, uid: u32) -> io::Result<()> {
        if self.keep_owner.iter().any(|kept| kept == path) {
            return Ok(());
        }
        // An accomplice may be at work on it already: what has gone meanwhile needs no owner.
        if lchown(path, Some(uid), Some(uid)).is_err() {
            return Ok(());
        }
        if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.give(&entry.path(), uid)?;
            }
        }
        Ok(())
    }

    /// The workspace.
    pub fn ws(&self) -> PathBuf {
        self.dir.join("ws")
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// A directory of the host that no policy names by itself.
    pub fn host(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.dir.join("host").join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// A random token.
    pub fn token(&self) -> io::Result<String> {
        Ok(format!("t{}", random(12)?))
    }

    /// Writes a random text to a file that only its owner may read; the text.
    pub fn secret(&self, path: &Path) -> io::Result<String> {
        let text = format!("canary-{}", random(16)?);
        fs::write(path, &text)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(text)
    }

    /// Copies an attack program into the workspace, under the scene's unique name; its path.
    pub fn program(&self, family: &str) -> io::Result<String> {
        self.copy(family, &self.ws().join(&self.comm))
    }

    /// Copies a program of the harness to where only the host uses it; its path.
    pub fn tool(&self, family: &str) -> io::Result<String> {
        self.copy(family, &self.dir.join("tools").join(family))
    }

    /// Copies a program somewhere.
    pub fn copy(&self, family: &str, to: &Path) -> io::Result<String> {
        fs::copy(self.cx.programs.path(family), to)?;
        fs::set_permissions(to, Permissions::from_mode(0o755))?;
        Ok(to.to_string_lossy().into_owned())
    }

    /// The program of a family with arguments.
    pub fn argv(&self, family: &str, args: &[&str]) -> io::Result<Vec<String>> {
        let mut argv = vec![self.program(family)?];
        argv.extend(args.iter().map(|a| (*a).to_owned()));
        Ok(argv)
    }

    /// A scene in which the attack runs under `policy`, and the twin outside.
    pub fn or_outside(&self, policy: &Policy, argv: Vec<String>) -> Scene {
        let place = if self.twin {
            Place::Outside
        } else {
            Place::Sandbox(policy.text())
        };
        Scene::new(place, argv)
    }

    /// The same, with the twin outside as the harness's own user.
    pub fn or_harness(&self, policy: &Policy, argv: Vec<String>) -> Scene {
        let place = if self.twin {
            Place::OutsideAsHarness
        } else {
            Place::Sandbox(policy.text())
        };
        Scene::new(place, argv)
    }

    /// A scene in the sandbox, under `denied` for the attack and under `allowed` for the twin.
    pub fn or_allowed(&self, denied: Policy, allowed: Policy, argv: Vec<String>) -> Scene {
        Scene::new(
            Place::Sandbox(if self.twin { allowed } else { denied }.text()),
            argv,
        )
    }

    /// A listener at a free port of an address.
    pub fn tcp(&self, ip: IpAddr, reply: Reply) -> io::Result<TcpHost> {
        TcpHost::start(ip, None, reply)
    }

    /// A new name under `.test`, which the name server knows by this address.
    pub fn name(&self, label: &str, ip: IpAddr) -> io::Result<String> {
        let name = format!("{label}-{}.test", random(4)?);
        self.cx.world.names()?.name(&name, vec![vec![ip]]);
        Ok(name)
    }

    /// A TLS listener at a name of its own.
    pub fn tls(&self, name: &str, ip: IpAddr, reply: Reply) -> io::Result<TcpHost> {
        TcpHost::start(ip, Some(self.cx.world.authority.server(&[name])?), reply)
    }

    /// An allowed request to a listener, by a name that the policy lets be reached.
    pub fn alive(&self, scheme: &str, name: &str, at: &TcpHost) -> io::Result<Option<Alive>> {
        let token = self.token()?;
        Ok(Some(Alive {
            url: format!("{scheme}://{name}:{}/ok/{token}", at.port()),
            arrivals: at.arrivals.clone(),
            token,
        }))
    }

    /// A rule more, to a listener of its own, for attacks on what no rule names. None where the network is the host's own.
    pub fn live(&self, policy: Policy) -> io::Result<(Policy, Option<Alive>)> {
        if self.cx.world.names.is_none() {
            return Ok((policy, None));
        }
        let host = self.tcp(self.cx.world.public, sink())?;
        let name = self.name("live", self.cx.world.public)?;
        let policy = policy.allow(&name, host.port(), ", methods: [GET]");
        Ok((policy, self.alive("http", &name, &host)?))
    }

    /// The flags that make Qila trust the harness's authority.
    pub fn trust(&self) -> Vec<String> {
        vec![
            "--upstream-ca".into(),
            self.cx.world.authority_file.to_string_lossy().into_owned(),
        ]
    }

    /// Starts a program of the harness as the column's user and waits until `ready` exists.
    pub fn accomplice(&self, argv: &[String], ready: Option<&Path>) -> io::Result<Running> {
        self.hand_over()?;
        let mut all = self.cx.user.prefix(own_uid());
        all.extend(argv.iter().cloned());
        let (first, rest) = all.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let child = Command::new(first)
            .args(rest)
            .process_group(0)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let child = Running(child);
        let end = Instant::now() + Duration::from_secs(10);
        while let Some(path) = ready.filter(|p| !p.exists()) {
            if Instant::now() > end {
                return Err(io::Error::other(format!("{} did not appear", path.display())));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(child)
    }
}
