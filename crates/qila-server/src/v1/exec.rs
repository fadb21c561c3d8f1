//! Running a program and answering when it has ended.
use super::killer::{self, SIGKILL};
use super::text::{self, Encoding};
use crate::app::App;
use crate::body::{At, Body, Sandbox};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use qila_api::{Exec, Input, Output, Size, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// Bytes of each stream that an answer keeps, unless less is asked for.
const KEPT: usize = 1 << 20;
/// Milliseconds that a program may run if nothing is said, and at most.
const TIME: u64 = 60_000;
const MOST_TIME: u64 = 3_600_000;
/// How long the end of a killed program is waited for.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SizeBody {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

impl From<SizeBody> for Size {
    fn from(SizeBody { rows, cols }: SizeBody) -> Size {
        Size { rows, cols }
    }
}

/// A program to run: either `argv` or `shell`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecBody {
    /// Program and arguments.
    #[serde(default)]
    argv: Vec<String>,
    /// A line for `/bin/sh -c` instead.
    shell: Option<String>,
    /// Variables beside the sandbox's.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Directory; absent: the sandbox's home.
    cwd: Option<String>,
    /// A name for it.
    tag: Option<String>,
    /// In a fork of the template's warm program; `argv` is read as `python3` reads it.
    #[serde(default)]
    warm: bool,
    /// Its whole standard input.
    stdin: Option<String>,
    /// How `stdin` is written.
    #[serde(default)]
    stdin_encoding: Encoding,
    /// Milliseconds that it may run; then it is killed. Absent: 60,000, and no bound for streams.
    #[schema(maximum = 31_622_400_000_u64)]
    timeout_ms: Option<u64>,
    /// Bytes of each stream that the answer keeps, at most 1 MiB. Not for streams.
    max_output: Option<usize>,
    /// A terminal of this size instead of three streams. Only for streams.
    terminal: Option<SizeBody>,
    /// Whether its standard input stays open for more. Only for streams.
    #[serde(default)]
    input: bool,
    /// Whether it is killed when the client of its stream goes away.
    #[serde(default)]
    kill_on_disconnect: bool,
}

/// A program as it can be started, and what goes with it.
pub(crate) struct Wish {
    pub exec: Exec,
    pub stdin: Option<Vec<u8>>,
    pub time: Option<Duration>,
    pub kept: usize,
    pub kill_on_disconnect: bool,
}

impl ExecBody {
    /// Reads it; for a stream more is possible.
    pub fn wish(self, stream: bool) -> Result<Wish, Problem> {
        let argv = match (self.shell, self.argv) {
            (Some(line), argv) if argv.is_empty() => vec!["/bin/sh".to_owned(), "-c".to_owned(), line],
            (None, argv) if !argv.is_empty() => argv,
            _ => return Err(Problem::invalid("either `argv` or `shell`")),
        };
        if !stream && (self.terminal.is_some() || self.input || self.kill_on_disconnect) {
            return Err(
                Problem::invalid("`terminal`, `input` and `kill_on_disconnect` are for streams")
                    .hint("POST …/exec/stream, or the WebSocket …/exec/ws"),
            );
        }
        let time = match self.timeout_ms {
            Some(0) => return Err(Problem::invalid("timeout_ms: at least 1")),
            Some(ms) if ms > MOST_TIME && !stream => {
                return Err(Problem::invalid(format!("timeout_ms: at most {MOST_TIME}")));
            }
            Some(ms) => Some(super::view::time(ms)?),
            None if stream => None,
            None => Some(Duration::from_millis(TIME)),
        };
        let stdin = self
            .stdin
            .map(|given| text::bytes(given, self.stdin_encoding))
            .transpose()?;
        Ok(Wish {
            exec: Exec {
                argv,
                environment: self.env,
                cwd: self.cwd,
                tag: self.tag,
                terminal: self.terminal.map(Size::from),
                input: self.input || stdin.is_some(),
                warm: self.warm,
            },
            // The end of what was given is the end of the input, unless more is to come.
            stdin,
            time,
            kept: self.max_output.unwrap_or(KEPT).min(KEPT),
            kill_on_disconnect: self.kill_on_disconnect,
        })
    }
}

/// How a program ended, and what it said.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExecView {
    /// Exit code, if it exited.
    exit_code: Option<i32>,
    /// Signal, if one ended it.
    signal: Option<i32>,
    /// Standard output.
    stdout: String,
    /// How `stdout` is written.
    stdout_encoding: Encoding,
    /// Standard error.
    stderr: String,
    /// How `stderr` is written.
    stderr_encoding: Encoding,
    /// Whether it said more than is kept here.
    truncated: bool,
    /// Whether it was killed because its time was over.
    timed_out: bool,
}

/// Gives a program its whole standard input, and the end of it. It may read or not.
pub(crate) fn feed(input: tokio::sync::mpsc::Sender<Input>, stdin: Vec<u8>, end: bool) {
    tokio::spawn(async move {
        let mut rest = Bytes::from(stdin);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(32 << 10));
            if input.send(Input::Bytes(piece)).await.is_err() {
                return;
            }
        }
        if end {
            let _ = input.send(Input::End).await;
        }
    });
}

/// Run a program and answer when it has ended. If the client goes away before, the program is killed.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/exec", tag = "programs", params(("sandbox" = String, Path)),
    request_body = ExecBody,
    responses((status = 200, body = ExecView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn exec(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Body { value, .. }: Body<ExecBody>,
) -> Result<Json<ExecView>, Problem> {
    let wish = value.wish(false)?;
    let (mut process, mut killer) = killer::begin(&app, &who.tenant, &id, wish.exec, true).await?;
    if let Some(stdin) = wish.stdin {
        feed(process.input.clone(), stdin, true);
    }
    let mut said = Said::new(wish.kept);
    let time = wish.time.unwrap_or(Duration::from_millis(TIME));
    let ended = tokio::time::timeout(time, said.listen(&mut process.output)).await;
    let (status, timed_out) = match ended {
        Ok(status) => (status, false),
        Err(_) => {
            // If it has ended meanwhile, the end is in what it said.
            killer.kill();
            let status = tokio::time::timeout(LAST_WORDS, said.listen(&mut process.output)).await;
            (
                status.unwrap_or(Some(Status {
                    code: None,
                    signal: Some(SIGKILL),
                })),
                true,
            )
        }
    };
    killer.disarm();
    // Listening until nothing comes any more lets the sandbox know that the end was told, which then forgets it.
    let mut output = process.output;
    tokio::spawn(tokio::time::timeout(LAST_WORDS, async move {
        while output.recv().await.is_some() {}
    }));
    let Some(status) = status else {
        return Err(
            qila_api::ApiError::new(qila_api::Kind::Gone, "the sandbox ended before the program").into(),
        );
    };
    Ok(Json(said.view(status, timed_out)))
}

struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
    kept: usize,
    truncated: bool,
}

impl Said {
    fn new(kept: usize) -> Said {
        Said {
            out: Vec::new(),
            err: Vec::new(),
            kept,
            truncated: false,
        }
    }

    /// Until its end; none: the sandbox is gone.
    async fn listen(&mut self, output: &mut tokio::sync::mpsc::Receiver<Output>) -> Option<Status> {
        while let Some(said) = output.recv().await {
            let (bytes, kept) = match &said {
                Output::Ended(status) => return Some(*status),
                Output::Lost(_) => {
                    self.truncated = true;
                    continue;
                }
                Output::Stdout(bytes) | Output::Terminal(bytes) => (bytes, &mut self.out),
                Output::Stderr(bytes) => (bytes, &mut self.err),
            };
            let room = self.kept.saturating_sub(kept.len());
            kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            self.truncated |= bytes.len() > room;
        }
        None
    }

    fn view(mut self, status: Status, timed_out: bool) -> ExecView {
        if self.truncated {
            whole_characters(&mut self.out);
            whole_characters(&mut self.err);
        }
        let (stdout, stdout_encoding) = text::text(&self.out);
        let (stderr, stderr_encoding) = text::text(&self.err);
        ExecView {
            exit_code: status.code,
            signal: status.signal,
            stdout,
            stdout_encoding,
            stderr,
            stderr_encoding,
            truncated: self.truncated,
            timed_out,
        }
    }
}

/// Where a text was cut in the middle of a character, that character goes.
fn whole_characters(bytes: &mut Vec<u8>) {
    let Err(error) = std::str::from_utf8(bytes) else {
        return;
    };
    if error.error_len().is_none() {
        bytes.truncate(error.valid_up_to());
    }
}
