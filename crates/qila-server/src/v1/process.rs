//! Programs that run in a sandbox.
use super::exec::SizeBody;
use super::stream::which;
use super::text::{self, Encoding};
use crate::app::App;
use crate::body::{At, Body, Sandbox};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qila_api::{Input, SandboxId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A program that runs.
#[derive(Serialize, ToSchema)]
#[schema(as = Process)]
pub(crate) struct ProcessView {
    /// Its number inside.
    pid: u32,
    /// Program and arguments.
    argv: Vec<String>,
    /// Directory that it was started in, if one was named.
    cwd: Option<String>,
    /// The name that it was started with.
    tag: Option<String>,
    /// Whether it has a terminal.
    terminal: bool,
}

/// List programs that were started and run.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/processes", tag = "programs", params(("sandbox" = String, Path)),
    responses((status = 200, body = Vec<ProcessView>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
) -> Result<Json<Vec<ProcessView>>, Problem> {
    let all = app.node.processes(&who.tenant, &id).await?;
    let view = |p: qila_api::ProcessInfo| ProcessView {
        pid: p.pid.0,
        argv: p.exec.argv,
        cwd: p.exec.cwd,
        tag: p.exec.tag,
        terminal: p.exec.terminal.is_some(),
    };
    Ok(Json(all.into_iter().map(view).collect()))
}

/// A signal.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignalBody {
    /// Its name without `SIG`, or its number as text: `TERM`, `9`.
    pub signal: String,
}

/// Numbers of signals on Linux (signal(7)).
const SIGNALS: [(&str, i32); 14] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("WINCH", 28),
];

/// A signal's number.
pub(crate) fn number(text: &str) -> Result<i32, Problem> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, n)| *n);
    let number = named.or_else(|| text.parse().ok().filter(|n| (1..=64).contains(n)));
    number.ok_or_else(|| Problem::invalid("signal: neither a name nor a number from 1 to 64"))
}

/// Send a signal to a program's process group. The program is its number, or `tag:` and its name.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/processes/{process}/signal", tag = "programs",
    params(("sandbox" = String, Path), ("process" = String, Path)), request_body = SignalBody,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn signal(
    State(app): State<App>,
    Caller(who): Caller,
    At((id, process)): At<(SandboxId, String)>,
    Body { value, .. }: Body<SignalBody>,
) -> Result<Response, Problem> {
    let what = Input::Signal(number(&value.signal)?);
    app.node.tell(&who.tenant, &id, &which(&process)?, what).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Bytes for a program, or the end of its input, or both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputBody {
    /// What it is to read.
    #[serde(default)]
    data: String,
    /// How `data` is written.
    #[serde(default)]
    encoding: Encoding,
    /// Whether it is the last.
    #[serde(default)]
    end: bool,
}

/// Write to a program's standard input or terminal.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/processes/{process}/input", tag = "programs",
    params(("sandbox" = String, Path), ("process" = String, Path)), request_body = InputBody,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn input(
    State(app): State<App>,
    Caller(who): Caller,
    At((id, process)): At<(SandboxId, String)>,
    Body { value, .. }: Body<InputBody>,
) -> Result<Response, Problem> {
    let which = which(&process)?;
    let bytes = text::bytes(value.data, value.encoding)?;
    if !bytes.is_empty() || !value.end {
        app.node
            .tell(&who.tenant, &id, &which, Input::Bytes(bytes.into()))
            .await?;
    }
    if value.end {
        app.node.tell(&who.tenant, &id, &which, Input::End).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Give a program's terminal another size.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/processes/{process}/resize", tag = "programs",
    params(("sandbox" = String, Path), ("process" = String, Path)), request_body = SizeBody,
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn resize(
    State(app): State<App>,
    Caller(who): Caller,
    At((id, process)): At<(SandboxId, String)>,
    Body { value, .. }: Body<SizeBody>,
) -> Result<Response, Problem> {
    let what = Input::Resize(value.into());
    app.node.tell(&who.tenant, &id, &which(&process)?, what).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
