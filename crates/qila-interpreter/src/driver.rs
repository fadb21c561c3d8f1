//! Languages whose interpreter is a program that lives as long as its context: cells go in, what they say comes out, and a mark
//! that nobody can guess ends each.
use crate::cell::{Cell, Enough, Listener, Said};
use crate::interrupt::{Interrupted, due};
use crate::split::{Piece, Splitter};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// Run by `node`.
const JAVASCRIPT: &str = include_str!("drivers/javascript.js");
/// Run by `bash`.
const BASH: &str = include_str!("drivers/bash.sh");
/// Longest line in which the JavaScript driver says something, in bytes.
const EVENT: usize = 32 << 20;
/// How long an interpreter may take to be ready for its first cell.
const STARTING: Duration = Duration::from_secs(60);

/// What a driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bash,
    JavaScript,
}

/// A program that runs cells.
pub(crate) struct Driver {
    kind: Kind,
    child: Child,
    input: ChildStdin,
    out: ChildStdout,
    err: ChildStderr,
    mark: String,
    count: u64,
    ready: bool,
}

/// Why a driver is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriverError {
    #[error("`{0}` cannot be started: {1}")]
    Start(&'static str, std::io::Error),
    #[error("its interpreter has ended")]
    Ended,
}

impl Driver {
    /// Starts one, in a directory.
    pub(crate) fn start(kind: Kind, cwd: &Path) -> Result<Driver, DriverError> {
        let mut bytes = [0u8; 16];
        let (program, args): (_, [&str; 2]) = match kind {
            Kind::Bash => ("bash", ["-c", BASH]),
            Kind::JavaScript => ("node", ["-e", JAVASCRIPT]),
        };
        getrandom::fill(&mut bytes)
            .map_err(|e| DriverError::Start(program, std::io::Error::other(e.to_string())))?;
        let mark: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut child = Command::new(program)
            .args(args)
            .env("QILA_MARK", &mark)
            .current_dir(cwd)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| DriverError::Start(program, e))?;
        let (Some(input), Some(out), Some(err)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(DriverError::Ended);
        };
        Ok(Driver {
            kind,
            child,
            input,
            out,
            err,
            mark: format!("\u{1e}{mark} "),
            count: 0,
            ready: false,
        })
    }

    /// Runs a cell. An error means that the driver is of no use any more.
    pub(crate) async fn run(&mut self, cell: &Cell, to: &mut Listener) -> Result<(), DriverError> {
        self.count += 1;
        if to.say(Said::Count(self.count)) == Err(Enough) {
            return Ok(());
        }
        if self.kind == Kind::Bash && cell.code.contains('\0') {
            let _ = to.say(Said::failure("SyntaxError", "a shell reads no NUL")); // gone or not, it is not run
            return Ok(());
        }
        if !self.ready {
            // Before that, an interruption would end it: whoever goes away meanwhile is noticed afterwards.
            let started = tokio::time::timeout(STARTING, self.started()).await;
            started.unwrap_or(Err(DriverError::Ended))?;
            self.ready = true;
        }
        let request = json!({"code": cell.code, "env": cell.env});
        let line = match self.kind {
            Kind::JavaScript => format!("{request}\n"),
            Kind::Bash => bash(cell),
        };
        self.write(line.as_bytes(), to).await?;
        self.hear(to).await
    }

    /// Gives it a cell. One that is busy with what an earlier cell has left does not take it, and half of one is none.
    async fn write(&mut self, line: &[u8], to: &Listener) -> Result<(), DriverError> {
        let (kind, child, input) = (self.kind, &self.child, &mut self.input);
        let mut written = std::pin::pin!(async {
            input.write_all(line).await?;
            input.flush().await
        });
        let mut interrupted: Option<Interrupted> = None;
        loop {
            if interrupted.as_mut().is_some_and(|i| !i.go_on(kind, child)) {
                return Err(DriverError::Ended);
            }
            tokio::select! {
                biased;
                done = &mut written => return done.map_err(|_| DriverError::Ended),
                () = to.gone(), if interrupted.is_none() => interrupted = Some(Interrupted::begin(kind, child)),
                () = due(interrupted.as_ref()) => {}
            }
        }
    }

    /// Until it has marked both streams for the first time.
    async fn started(&mut self) -> Result<(), DriverError> {
        let new = || (Splitter::new(&self.mark, 64), false);
        let (mut out, mut err) = (new(), new());
        let mut buffers = (vec![0u8; 4096], vec![0u8; 4096]);
        while !(out.1 && err.1) {
            tokio::select! {
                n = self.out.read(&mut buffers.0), if !out.1 => take(&mut out, n, &buffers.0),
                n = self.err.read(&mut buffers.1), if !err.1 => take(&mut err, n, &buffers.1),
            }?;
        }
        Ok(())
    }

    /// Until the end has been marked on both streams.
    async fn hear(&mut self, to: &mut Listener) -> Result<(), DriverError> {
        let line = match self.kind {
            Kind::Bash => 64,
            Kind::JavaScript => EVENT,
        };
        let mut out = (Splitter::new(&self.mark, line), false);
        let mut err = (Splitter::new(&self.mark, line), false);
        let mut buffers = (vec![0u8; 16 * 1024], vec![0u8; 16 * 1024]);
        let mut interrupted: Option<Interrupted> = None;
        while !(out.1 && err.1) {
            // Here, as well: one that says ever more is always read first.
            if interrupted
                .as_mut()
                .is_some_and(|i| !i.go_on(self.kind, &self.child))
            {
                return Err(DriverError::Ended);
            }
            let (taken, is_out) = tokio::select! {
                biased; // what has ended already is not interrupted
                n = self.out.read(&mut buffers.0), if !out.1 => (take(&mut out, n, &buffers.0), true),
                n = self.err.read(&mut buffers.1), if !err.1 => (take(&mut err, n, &buffers.1), false),
                () = to.gone(), if interrupted.is_none() => {
                    interrupted = Some(Interrupted::begin(self.kind, &self.child));
                    continue;
                }
                () = due(interrupted.as_ref()) => continue,
            };
            let ended = taken.is_err();
            let pieces = taken.unwrap_or_else(|_| {
                let text = if is_out { out.0.rest() } else { err.0.rest() };
                vec![Piece { text, mark: None }]
            });
            for said in pieces.into_iter().flat_map(|p| self.understand(p, is_out)) {
                if interrupted.is_none() && to.say(said) == Err(Enough) {
                    interrupted = Some(Interrupted::begin(self.kind, &self.child));
                }
            }
            if ended {
                return Err(DriverError::Ended);
            }
        }
        Ok(())
    }

    fn understand(&self, piece: Piece, is_out: bool) -> Vec<Said> {
        let mut said = Vec::new();
        let text = String::from_utf8_lossy(&piece.text).into_owned();
        if !text.is_empty() {
            said.push(if is_out {
                Said::Stdout(text)
            } else {
                Said::Stderr(text)
            });
        }
        let Some(mark) = piece.mark.filter(|_| is_out) else {
            return said;
        };
        match self.kind {
            Kind::JavaScript => said.extend(serde_json::from_slice(&mark).ok().as_ref().and_then(event)),
            Kind::Bash => {
                let status = String::from_utf8_lossy(&mark).trim().to_owned();
                let failed =
                    (status != "0").then(|| Said::failure("ExitError", format!("exit status {status}")));
                said.extend(failed);
            }
        }
        said
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(pid) = self
            .child
            .id()
            .and_then(|p| i32::try_from(p).ok())
            .and_then(Pid::from_raw)
        {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// What a stream has said, cut at its marks. What comes after the end is nobody's.
fn take(
    stream: &mut (Splitter, bool),
    got: std::io::Result<usize>,
    buffer: &[u8],
) -> Result<Vec<Piece>, DriverError> {
    let n = match got {
        Ok(0) | Err(_) => return Err(DriverError::Ended),
        Ok(n) => n,
    };
    let mut pieces = Vec::new();
    let mut bytes = buffer.get(..n).unwrap_or(&[]);
    loop {
        let piece = stream.0.feed(bytes);
        bytes = &[];
        let more = piece.mark.as_ref().is_some_and(|m| m.starts_with(b"{"));
        stream.1 |= piece.mark.is_some() && !more;
        pieces.push(piece);
        if !more {
            return Ok(pieces);
        }
    }
}

/// A cell as the shell reads it: lengths in bytes before contents, so that nothing in them can be misread.
fn bash(cell: &Cell) -> String {
    let env: Vec<String> = cell.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut line = format!("{}\n", env.len());
    for word in env.iter().chain(std::iter::once(&cell.code)) {
        line.push_str(&format!("{}\n{word}", word.len()));
    }
    line
}

/// What a line of the JavaScript driver says.
fn event(line: &Value) -> Option<Said> {
    let text = |name: &str| {
        line.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match line.get("type")?.as_str()? {
        "result" => {
            let parts = line.get("parts")?.as_object()?.clone();
            Some(Said::Result(parts, true))
        }
        "error" => Some(Said::Error {
            name: text("name"),
            value: text("value"),
            traceback: text("traceback"),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn bash_driver() -> Driver {
        // Who starts tests in the background has them ignore interruptions, which a shell can then not be told of.
        let interrupted = tokio::signal::unix::SignalKind::interrupt();
        drop(tokio::signal::unix::signal(interrupted).unwrap());
        Driver::start(Kind::Bash, Path::new("/")).unwrap()
    }

    /// A shell that has only just been started would be ended by an interruption.
    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_goes_away_at_once_leaves_the_interpreter() {
        let cell = |code: &str| Cell {
            code: code.into(),
            env: std::collections::BTreeMap::new(),
        };
        for _ in 0..4 {
            let mut driver = bash_driver();
            let (to, mut said) = tokio::sync::mpsc::unbounded_channel();
            let leaves = tokio::spawn(async move { drop(said.recv().await) });
            let first = driver.run(&cell("sleep 100"), &mut Listener::new(to)).await;
            assert!(first.is_ok(), "{first:?}");
            leaves.await.unwrap();
            let (to, mut said) = tokio::sync::mpsc::unbounded_channel();
            driver
                .run(&cell("echo on"), &mut Listener::new(to))
                .await
                .unwrap();
            assert_eq!(said.recv().await, Some(Said::Count(2)));
            assert_eq!(said.recv().await, Some(Said::Stdout("on\n".into())));
        }
    }

    /// Runs a cell whose client leaves when it has said so much.
    async fn left(driver: &mut Driver, code: &str, after: &str) {
        let cell = Cell {
            code: code.into(),
            env: std::collections::BTreeMap::new(),
        };
        let (to, mut said) = tokio::sync::mpsc::unbounded_channel();
        let after = Said::Stdout(after.into());
        let leaves = tokio::spawn(async move { while said.recv().await.is_some_and(|s| s != after) {} });
        driver.run(&cell, &mut Listener::new(to)).await.unwrap();
        leaves.await.unwrap();
    }

    async fn told(driver: &mut Driver, code: &str) -> String {
        let cell = Cell {
            code: code.into(),
            env: std::collections::BTreeMap::new(),
        };
        let (to, mut said) = tokio::sync::mpsc::unbounded_channel();
        driver.run(&cell, &mut Listener::new(to)).await.unwrap();
        let mut text = String::new();
        while let Some(one) = said.recv().await {
            if let Said::Stdout(more) = one {
                text += &more;
            }
        }
        text
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_shell_is_interrupted_only_where_that_of_what_it_runs_is_not_enough() {
        let mut driver = bash_driver();
        let runs = "trap 'n=1' INT; n=0; (echo on; exec sleep 100)";
        left(&mut driver, runs, "on\n").await;
        assert_eq!(told(&mut driver, "echo $n").await, "0\n");
        let nothing = "echo on; until [ $n = 1 ]; do :; done";
        left(&mut driver, nothing, "on\n").await;
        // What runs behind ignores it.
        let behind = "n=0; sleep 100 & echo on; until [ $n = 1 ]; do :; done; kill $!";
        left(&mut driver, behind, "on\n").await;
        assert_eq!(told(&mut driver, "echo $n").await, "1\n");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cell_may_trap_interruptions_for_the_next_and_may_not_leave_none() {
        let mut driver = bash_driver();
        assert_eq!(told(&mut driver, "trap - INT").await, "");
        assert_eq!(told(&mut driver, "trap -p INT").await, "trap -- ':' SIGINT\n");
        assert_eq!(told(&mut driver, "trap 'echo its own' INT").await, "");
        assert_eq!(
            told(&mut driver, "trap -p INT").await,
            "trap -- 'echo its own' SIGINT\n"
        );
    }

    /// A program that does not read takes no cell that is larger than a pipe.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_cell_that_is_not_taken_ends_with_its_client() {
        let mut driver = bash_driver();
        assert_eq!(told(&mut driver, "").await, "");
        let shell = driver.child.id().unwrap().cast_signed();
        let shell = rustix::process::Pid::from_raw(shell).unwrap();
        rustix::process::kill_process(shell, Signal::STOP).unwrap();
        let cell = Cell {
            code: "#".repeat(1 << 20),
            env: std::collections::BTreeMap::new(),
        };
        let (to, said) = tokio::sync::mpsc::unbounded_channel();
        drop(said);
        let mut to = Listener::new(to);
        let written = driver.write(cell.code.as_bytes(), &to);
        let bounded = tokio::time::timeout(Duration::from_secs(60), written).await;
        assert!(matches!(bounded, Ok(Err(DriverError::Ended))));
        // One that says ever more has its time, too.
        let mut driver = bash_driver();
        assert_eq!(told(&mut driver, "").await, "");
        let flood = bash(&Cell {
            code: "trap '' INT; while :; do echo x; done".into(),
            ..cell
        });
        driver.write(flood.as_bytes(), &to).await.unwrap();
        let bounded = tokio::time::timeout(Duration::from_secs(60), driver.hear(&mut to)).await;
        assert!(matches!(bounded, Ok(Err(DriverError::Ended))));
    }
}
