//! A Docker daemon of this run's own, on a temporary store, as a peer.
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::peers::archive_with_true;
use crate::scratch::{Scratch, find};
use crate::timing::Program;

/// Seconds that the daemon has to answer.
const PATIENCE: u64 = 20;

/// A running daemon; it is stopped when this goes.
#[derive(Debug)]
pub struct Docker {
    daemon: Child,
    client: PathBuf,
    socket: String,
}

impl Docker {
    /// Starts the daemon and gives it one image, or says why it cannot.
    pub fn start(scratch: &Scratch) -> Result<Docker, String> {
        if !scratch.root {
            return Err("a Docker daemon needs root".to_owned());
        }
        let dockerd = find("dockerd").ok_or("dockerd is not installed")?;
        let client = find("docker").ok_or("the docker client is not installed")?;
        let store = scratch.folder.join("docker");
        std::fs::create_dir_all(&store).map_err(|error| error.to_string())?;
        // A unix socket's path is short by nature; the scratch folder's may not be.
        let socket = format!("unix:///tmp/qila-bench-docker-{}.sock", std::process::id());
        let log = std::fs::File::create(store.join("log")).map_err(|error| error.to_string())?;
        let daemon = Command::new(dockerd)
            .args([
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                // Otherwise it switches the host's forwarding on, and leaves it so.
                "--ip-forward=false",
                "--ip-masq=false",
                "-H",
                &socket,
            ])
            .arg("--data-root")
            .arg(store.join("data"))
            .arg("--exec-root")
            .arg(store.join("exec"))
            .arg("--pidfile")
            .arg(store.join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start dockerd: {error}"))?;
        let mut docker = Docker {
            daemon,
            client,
            socket,
        };
        docker.wait(&store.join("log"))?;
        docker.import(scratch)?;
        Ok(docker)
    }

    fn wait(&mut self, log: &std::path::Path) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(PATIENCE) {
            if self.succeeds(&["info"]) {
                return Ok(());
            }
            if matches!(self.daemon.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let last: String = text
            .lines()
            .last()
            .unwrap_or("no message")
            .chars()
            .take(160)
            .collect();
        Err(format!("dockerd does not answer here: {last}"))
    }

    fn import(&self, scratch: &Scratch) -> Result<(), String> {
        let archive = archive_with_true(scratch, "docker")?;
        if self.succeeds(&["import", &archive, "qila-bench"]) {
            Ok(())
        } else {
            Err("docker import failed".to_owned())
        }
    }

    fn succeeds(&self, words: &[&str]) -> bool {
        let mut command = Command::new(&self.client);
        command
            .args(["-H", &self.socket])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Keeps a container running, and gives the trivial command to be run in it.
    pub fn keep(&self, scratch: &Scratch) -> Result<Program, String> {
        const NAME: &str = "qila-bench-kept";
        let run = [
            "run",
            "-d",
            "--network",
            "none",
            "--name",
            NAME,
            "qila-bench",
            "/bin/sleep",
            "3600",
        ];
        if !self.succeeds(&run) {
            return Err("docker run failed".to_owned());
        }
        let client = self.client.display().to_string();
        let words = [client.as_str(), "-H", &self.socket, "exec", NAME, "/bin/true"];
        Ok(Program::new("docker", &scratch.folder, words))
    }

    /// `docker run` of the trivial command.
    pub fn run(&self, scratch: &Scratch) -> Program {
        let words = [
            "-H",
            &self.socket,
            "run",
            "--rm",
            "--network",
            "none",
            "qila-bench",
            "/bin/true",
        ];
        let client = self.client.display().to_string();
        Program::new(
            "docker",
            &scratch.folder,
            std::iter::once(client.as_str()).chain(words),
        )
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // A container that was kept.
        self.succeeds(&["rm", "-f", "qila-bench-kept"]);
        // The daemon stops its own containerd when it is asked, not when it is killed.
        if let Some(pid) = i32::try_from(self.daemon.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        drop(self.daemon.wait());
        drop(std::fs::remove_file(self.socket.trim_start_matches("unix://")));
    }
}
