//! A program at the other end of a WebSocket.
use super::exec::{ExecBody, SizeBody, feed};
use super::killer::{self, Killer};
use super::process::{SignalBody, number};
use super::stream::shown;
use crate::app::App;
use crate::body::{At, Sandbox};
use crate::gate::{Caller, Place, Share};
use crate::problem::Problem;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qila_api::{ApiError, Input, Kind, Output, Process, SandboxId, Tenant};
use serde::Deserialize;
use serde_json::json;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Bytes that one message may have.
const MESSAGE: usize = 1 << 20;
/// How long a client may take to say what is to be run, and a message to be taken by it.
const GREETING: Duration = Duration::from_secs(15);
const TAKING: Duration = Duration::from_secs(60);
/// Messages, and bytes of them, that wait to be taken by the program before no more is read from the client.
const WAITING: usize = 64;
const WAITING_BYTES: usize = 256 << 10;
/// How long a signal may take to be sent.
const SIGNALLING: Duration = Duration::from_secs(10);

/// What a client says in text; bytes for standard input or the terminal are binary messages.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Word {
    Resize(SizeBody),
    Signal(SignalBody),
    End {},
}

/// Run a program through a WebSocket. The first message is the JSON of `…/exec/stream`. Then binary messages are standard
/// input, and text ones `{"resize":{"rows":…,"cols":…}}`, `{"signal":{"signal":"INT"}}` or `{"end":{}}`. What comes back is binary,
/// one byte for the stream (1 standard output, 2 standard error, 3 terminal) and its bytes, or text: `{"started":{"pid":…}}`,
/// `{"lost":{"bytes":…}}`, `{"ended":{…}}`, `{"error":{…}}`.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/exec/ws", tag = "programs", params(("sandbox" = String, Path)),
    responses((status = 101, description = "A WebSocket"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn exec_socket(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Extension(place): Extension<Place>,
    Extension(share): Extension<Share>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    // Before anything else: whoever may not see it learns nothing more.
    app.node.get(&who.tenant, &id).await?;
    let upgrade = upgrade.map_err(|error| {
        Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "websocket",
            "Not a WebSocket",
            error.body_text(),
        )
    })?;
    let upgrade = upgrade.max_message_size(MESSAGE).max_frame_size(MESSAGE);
    Ok(upgrade
        .on_upgrade(async move |socket| {
            // The answer, which had them, has been sent long ago.
            let _kept = (place, share);
            talk(app, who.tenant, id, socket).await;
        })
        .into_response())
}

async fn talk(app: App, tenant: Tenant, id: SandboxId, mut socket: WebSocket) {
    if let Err(problem) = run(&app, &tenant, &id, &mut socket).await {
        // If nobody is there to be told, nobody is.
        let _ = say(&mut socket, Message::text(json!({"error": problem}).to_string())).await;
    }
    let _ = say(&mut socket, Message::Close(None)).await;
}

async fn say(socket: &mut WebSocket, message: Message) -> Result<(), Problem> {
    match tokio::time::timeout(TAKING, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Problem::timeout("the client does not read")),
    }
}

async fn run(app: &App, tenant: &Tenant, id: &SandboxId, socket: &mut WebSocket) -> Result<(), Problem> {
    let first = tokio::time::timeout(GREETING, socket.recv()).await;
    let first = match first.map_err(|_| Problem::timeout("nothing was said"))? {
        Some(Ok(Message::Text(text))) => text,
        _ => {
            return Err(Problem::invalid(
                "the first message is the JSON of what is to be run",
            ));
        }
    };
    let body: ExecBody = serde_json::from_str(&first).map_err(|e| Problem::invalid(e.to_string()))?;
    let mut wish = body.wish(true)?;
    wish.exec.input = true;
    let kill = wish.kill_on_disconnect;
    let (process, mut killer) = killer::begin(app, tenant, id, wish.exec, kill).await?;
    if let Some(stdin) = wish.stdin {
        feed(process.input.clone(), stdin, false);
    }
    say(
        socket,
        Message::text(json!({"started": {"pid": process.pid.0}}).to_string()),
    )
    .await?;
    let until = wish.time.map(|time| Instant::now() + time);
    let ended = both_ways(app, socket, process, &killer, until).await;
    if matches!(ended, Ok(true)) {
        killer.disarm();
    }
    ended.map(drop)
}

/// True: the program ended.
async fn both_ways(
    app: &App,
    socket: &mut WebSocket,
    mut process: Process,
    killer: &Killer,
    until: Option<Instant>,
) -> Result<bool, Problem> {
    let mut until = until;
    // What the client said and the program has not taken yet. Signals do not wait behind it.
    let mut waiting: VecDeque<Input> = VecDeque::new();
    let mut bytes = 0;
    loop {
        let room = async {
            match waiting.is_empty() {
                false => process.input.reserve().await.ok(),
                true => std::future::pending().await,
            }
        };
        let listens = waiting.len() < WAITING && bytes < WAITING_BYTES;
        tokio::select! {
            said = process.output.recv() => match said {
                None => return Err(ApiError::new(Kind::Gone, "the sandbox ended before the program").into()),
                Some(said) => {
                    say(socket, message(&said)).await?;
                    if matches!(said, Output::Ended(_)) {
                        // Listening until nothing comes any more lets the sandbox know that the end was told.
                        let mut output = process.output;
                        tokio::spawn(tokio::time::timeout(TAKING, async move {
                            while output.recv().await.is_some() {}
                        }));
                        return Ok(true);
                    }
                }
            },
            permit = room => {
                if let Some(input) = waiting.pop_front() {
                    bytes -= length(&input);
                    // A program that takes nothing any more has ended, which is told by what it says.
                    if let Some(permit) = permit {
                        permit.send(input);
                    }
                }
            }
            heard = socket.recv(), if listens => match heard {
                Some(Ok(Message::Binary(said))) => {
                    bytes += said.len();
                    waiting.push_back(Input::Bytes(said));
                }
                Some(Ok(Message::Text(text))) => match word(&text)? {
                    Input::Signal(number) => {
                        // If it has ended meanwhile, the end is in what it says.
                        let _ = tokio::time::timeout(SIGNALLING, killer.signal(number)).await;
                    }
                    input => waiting.push_back(input),
                },
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(false),
            },
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                until = None;
                killer.kill();
            }
            () = app.ending.cancelled() => {
                return Err(ApiError::new(Kind::Busy { retry_after: Duration::from_secs(1) }, "the server ends; the program goes on").into());
            }
        }
    }
}

fn length(input: &Input) -> usize {
    match input {
        Input::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

fn word(text: &str) -> Result<Input, Problem> {
    let word: Word = serde_json::from_str(text).map_err(|e| Problem::invalid(e.to_string()))?;
    Ok(match word {
        Word::Resize(size) => Input::Resize(size.into()),
        Word::Signal(SignalBody { signal }) => Input::Signal(number(&signal)?),
        Word::End {} => Input::End,
    })
}

fn message(said: &Output) -> Message {
    let tagged = |tag: u8, bytes: &[u8]| {
        let mut whole = Vec::with_capacity(bytes.len() + 1);
        whole.push(tag);
        whole.extend_from_slice(bytes);
        Message::Binary(whole.into())
    };
    match said {
        Output::Stdout(bytes) => tagged(1, bytes),
        Output::Stderr(bytes) => tagged(2, bytes),
        Output::Terminal(bytes) => tagged(3, bytes),
        Output::Lost(_) | Output::Ended(_) => {
            let (name, data) = shown(said);
            Message::text(json!({name: data}).to_string())
        }
    }
}
