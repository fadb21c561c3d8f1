//! Languages whose interpreter is a program that lives as long as its context: cells go in, what they say comes out, and a mark
//! that nobody can guess ends each.
use crate::cell::{Cell, Enough, Listener, Said};
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
/// How long an interrupted cell may take to end: on a busy machine, and without losing what cells before it have left.
const ENDING: Duration = Duration::from_secs(10);
/// Time between two interruptions of a cell that goes on.
const AGAIN: Duration = Duration::from_millis(100);

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
        let written = async {
            self.input.write_all(line.as_bytes()).await?;
            self.input.flush().await
        };
        written.await.map_err(|_| DriverError::Ended)?;
        self.hear(to).await
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
        let mut interrupted = None;
        while !(out.1 && err.1) {
            let ending = interrupted;
            let (taken, is_out) = tokio::select! {
                n = self.out.read(&mut buffers.0), if !out.1 => (take(&mut out, n, &buffers.0), true),
                n = self.err.read(&mut buffers.1), if !err.1 => (take(&mut err, n, &buffers.1), false),
                () = to.gone(), if ending.is_none() => {
                    interrupted = Some(self.interrupt());
                    continue;
                }
                () = until(ending) => return Err(DriverError::Ended),
                // A shell goes on with its next command.
                () = tokio::time::sleep(AGAIN), if ending.is_some() => {
                    self.interrupt();
                    continue;
                }
            };
            let ended = taken.is_err();
            let pieces = taken.unwrap_or_else(|_| {
                let text = if is_out { out.0.rest() } else { err.0.rest() };
                vec![Piece { text, mark: None }]
            });
            for said in pieces.into_iter().flat_map(|p| self.understand(p, is_out)) {
                if interrupted.is_none() && to.say(said) == Err(Enough) {
                    interrupted = Some(self.interrupt());
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

    fn interrupt(&self) -> tokio::time::Instant {
        if let Some(pid) = self
            .child
            .id()
            .and_then(|p| i32::try_from(p).ok())
            .and_then(Pid::from_raw)
        {
            let _ = kill_process_group(pid, Signal::INT); // one that is gone is seen to be
        }
        tokio::time::Instant::now() + ENDING
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

async fn until(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
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

    /// A shell that has only just been started would be ended by an interruption.
    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_goes_away_at_once_leaves_the_interpreter() {
        let cell = |code: &str| Cell {
            code: code.into(),
            env: std::collections::BTreeMap::new(),
        };
        for _ in 0..4 {
            let mut driver = Driver::start(Kind::Bash, Path::new("/")).unwrap();
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
}
