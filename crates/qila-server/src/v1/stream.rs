//! What a program says, as server-sent events.
use super::exec::{ExecBody, feed};
use super::killer::{self, Killer};
use super::text;
use crate::app::App;
use crate::body::{Asked, At, Body, Sandbox};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::HeaderMap;
use qila_api::{ApiError, Attach, Output, Process, ProcessId, SandboxId, Select};
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::Instant;
use utoipa::IntoParams;

/// How often a stream that says nothing shows that it is there.
pub(crate) const PULSE: Duration = Duration::from_secs(15);
/// How long the sandbox may take to hear that the end was told.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Start a program and listen to it: events `started`, `stdout`, `stderr`, `terminal`, `lost` and `ended`. The id of an event is
/// where its output ends, to come back there. The program goes on when the client goes away, unless `kill_on_disconnect`.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/exec/stream", tag = "programs", params(("sandbox" = String, Path)),
    request_body = ExecBody,
    responses((status = 200, description = "Events", content_type = "text/event-stream"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn exec_stream(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Body { value, .. }: Body<ExecBody>,
) -> Result<Response, Problem> {
    let wish = value.wish(true)?;
    // Through a stream of events nothing can be said: what is not given at the start is told by `…/input`.
    let more = wish.exec.input && wish.stdin.is_none();
    let kill = wish.kill_on_disconnect;
    let (process, killer) = killer::begin(&app, &who.tenant, &id, wish.exec, kill).await?;
    if let Some(stdin) = wish.stdin {
        feed(process.input.clone(), stdin, !more);
    }
    let until = wish.time.map(|time| Instant::now() + time);
    Ok(listen(process, Some(0), until, killer))
}

/// From where on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AttachQuery {
    /// From this byte of its output on, as far back as it is kept; absent: from now on.
    from: Option<u64>,
}

/// Come back to a program, by its number or by `tag:` and its name. A header `Last-Event-ID` says from where on; events have ids
/// only where it or `from` is there.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/processes/{process}/stream", tag = "programs",
    params(("sandbox" = String, Path), ("process" = String, Path), AttachQuery),
    responses((status = 200, description = "Events", content_type = "text/event-stream"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn attach(
    State(app): State<App>,
    Caller(who): Caller,
    At((id, process)): At<(SandboxId, String)>,
    Asked(query): Asked<AttachQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let which = which(&process)?;
    let from = last_event_id(&headers)?.or(query.from);
    let attach = from.map_or(Attach::Now, Attach::From);
    let process = app.node.attach(&who.tenant, &id, &which, attach).await?;
    let killer = Killer::idle(&app, &who.tenant, &id, process.pid);
    Ok(listen(process, from, None, killer))
}

/// The program of the path.
pub(crate) fn which(text: &str) -> Result<Select, Problem> {
    match text.strip_prefix("tag:") {
        Some(tag) => Ok(Select::Tag(tag.to_owned())),
        None => {
            let pid = text
                .parse()
                .map_err(|_| Problem::not_found(format!("there is no process `{text}`")))?;
            Ok(Select::Pid(ProcessId(pid)))
        }
    }
}

/// Where the client's stream broke off.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| Problem::invalid("Last-Event-ID: no number of an event"))
}

struct Listening {
    process: Process,
    /// Where its output ends as far as it was told; none: nobody said where it began.
    at: Option<u64>,
    until: Option<Instant>,
    killer: Killer,
    begun: bool,
    ended: bool,
}

fn listen(process: Process, at: Option<u64>, until: Option<Instant>, killer: Killer) -> Response {
    let listening = Listening {
        process,
        at,
        until,
        killer,
        begun: false,
        ended: false,
    };
    let events = stream::unfold(listening, |mut l| async move {
        let event = l.next().await?;
        Some((Ok::<_, Infallible>(event), l))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(PULSE))
        .into_response()
}

impl Listening {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            // The client has the end. Listening until nothing comes any more lets the sandbox know, which then forgets it.
            let rest = tokio::time::timeout(LAST_WORDS, async {
                while self.process.output.recv().await.is_some() {}
            });
            // If it cannot be told, the end is told again to who asks.
            let _ = rest.await;
            return None;
        }
        if !self.begun {
            self.begun = true;
            return Some(event("started", self.at, &json!({"pid": self.process.pid.0})));
        }
        let said = match self.until {
            None => self.process.output.recv().await,
            Some(at) => match tokio::time::timeout_at(at, self.process.output.recv()).await {
                Ok(said) => said,
                Err(_) => {
                    self.until = None;
                    self.killer.kill();
                    self.process.output.recv().await
                }
            },
        };
        let Some(said) = said else {
            (self.ended, _) = (true, self.killer.disarm());
            let gone = ApiError::new(qila_api::Kind::Gone, "the sandbox ended before the program");
            return Some(event("error", self.at, &json!(Problem::from(gone))));
        };
        self.at = self.at.map(|at| at + length(&said));
        if matches!(said, Output::Ended(_)) {
            (self.ended, _) = (true, self.killer.disarm());
        }
        let (name, data) = shown(&said);
        Some(event(name, self.at, &data))
    }
}

fn event(name: &str, at: Option<u64>, data: &serde_json::Value) -> Event {
    let event = Event::default().event(name).data(data.to_string());
    match at {
        Some(at) => event.id(at.to_string()),
        None => event,
    }
}

/// Bytes of output that this stands for.
fn length(said: &Output) -> u64 {
    match said {
        Output::Stdout(bytes) | Output::Stderr(bytes) | Output::Terminal(bytes) => bytes.len() as u64,
        Output::Lost(n) => *n,
        Output::Ended(_) => 0,
    }
}

/// As an event's name and data.
pub(crate) fn shown(said: &Output) -> (&'static str, serde_json::Value) {
    let data = |bytes: &[u8]| {
        let (data, encoding) = text::text(bytes);
        json!({"data": data, "encoding": encoding})
    };
    match said {
        Output::Stdout(bytes) => ("stdout", data(bytes)),
        Output::Stderr(bytes) => ("stderr", data(bytes)),
        Output::Terminal(bytes) => ("terminal", data(bytes)),
        Output::Lost(n) => ("lost", json!({"bytes": n})),
        Output::Ended(status) => (
            "ended",
            json!({"exit_code": status.code, "signal": status.signal}),
        ),
    }
}
