//! Drives the `qila` command, and waits for any command without waiting for ever.
use crate::host::Mode;
use serde_json::Value;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longest time one command may take; generous, since the machine may be busy.
const LIMIT: Duration = Duration::from_secs(400);

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Both outputs, for a failed assertion's message.
    pub fn text(&self) -> String {
        format!(
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.status, self.stdout, self.stderr
        )
    }
}

/// Runs a command to its end with no standard input; one that hangs is killed.
pub fn finish(mut command: Command) -> Finished {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || slurp(out));
    let err = std::thread::spawn(move || slurp(err));
    let status = wait(&mut child);
    let (stdout, stderr) = (out.join().unwrap(), err.join().unwrap());
    Finished {
        status,
        stdout,
        stderr,
    }
}

fn slurp(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.by_ref().take(64 << 20).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            return child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One installation of Qila: its binary, its user, its state.
#[derive(Debug, Clone)]
pub struct Qila {
    /// The binary.
    pub binary: PathBuf,
    /// As whom.
    pub mode: Mode,
    /// `$QILA_HOME`.
    pub state: PathBuf,
    /// `$HOME`.
    pub home: PathBuf,
    /// The directory it is started in.
    pub directory: PathBuf,
}

impl Qila {
    /// A `qila` command with a clean environment.
    pub fn command(&self) -> Command {
        let mut command = self.mode.command(&self.binary);
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", &self.home)
            .env("QILA_HOME", &self.state)
            .current_dir(&self.directory);
        command
    }

    /// Runs `qila ARGS`.
    pub fn call(&self, args: &[&str]) -> Finished {
        let mut command = self.command();
        command.args(args);
        finish(command)
    }
}

/// The run's id: `run` in the JSON object on the last line of standard error.
pub fn run_id(finished: &Finished) -> String {
    let last = finished.stderr.trim_end().lines().next_back().unwrap_or_default();
    let summary: Value = serde_json::from_str(last).unwrap_or(Value::Null);
    let id = summary["run"].as_str();
    id.unwrap_or_else(|| panic!("no run id on the last line of stderr: {}", finished.text()))
        .to_owned()
}
