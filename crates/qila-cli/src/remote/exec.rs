//! A command in a sandbox elsewhere, with the caller's own streams.
use super::http::{Host, Wire};
use crate::fail::Fail;
use crate::run::terminal::{self, Raw};
use bytes::Bytes;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use hyper::Method;
use serde_json::{Value, json};
use std::io::{Read, Write};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Pieces of input that wait to be sent.
const QUEUE: usize = 8;

type Socket = WebSocketStream<Box<dyn Wire>>;

fn lost(e: &dyn std::fmt::Display) -> Fail {
    Fail::new(format!("the daemon went away: {e}")).hint("the program may go on; see `qila sandbox list`")
}

/// Runs a command to its end: its exit code, 128 + N for signal N.
pub(crate) async fn run(
    host: &Host,
    id: &str,
    argv: &[String],
    env: &[(String, String)],
) -> Result<u8, Fail> {
    let size = terminal::size();
    let mut body = json!({"argv": argv, "env": env.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "input": true, "kill_on_disconnect": true});
    if let (Some(size), Some(object)) = (size, body.as_object_mut()) {
        object.insert("terminal".into(), json!({"rows": size.rows, "cols": size.cols}));
    }
    let mut socket = open(host, id).await?;
    socket
        .send(Message::text(body.to_string()))
        .await
        .map_err(|e| lost(&e))?;
    let _raw = size.and_then(|_| Raw::enter());
    let watch = Signals::new().map_err(|e| Fail::new(format!("taking over signals: {e}")))?;
    // Each way goes on by itself: a program that says much before it takes what it is told makes nobody wait for ever.
    let (to, mut from) = socket.split();
    let talking = tokio::spawn(talk(to, stdin(), watch));
    let code = loop {
        match from.next().await {
            Some(Ok(Message::Binary(bytes))) => show(&bytes)?,
            Some(Ok(Message::Text(text))) => {
                let value: Value = serde_json::from_str(&text).unwrap_or_default();
                if let Some(code) = ended(&value)? {
                    break code;
                }
            }
            Some(Ok(Message::Close(_))) | None => return Err(lost(&"it closed the connection")),
            Some(Ok(_)) => {}
            Some(Err(e)) => return Err(lost(&e)),
        }
    };
    talking.abort();
    Ok(code)
}

/// Sends what is said to the program until nobody takes it any more: who listens hears why.
async fn talk(mut to: SplitSink<Socket, Message>, mut input: mpsc::Receiver<Bytes>, mut watch: Signals) {
    let mut open = true;
    loop {
        let message = tokio::select! {
            piece = input.recv(), if open => match piece {
                Some(bytes) => Message::binary(bytes),
                None => {
                    open = false;
                    Message::text(json!({"end": {}}).to_string())
                }
            },
            word = watch.next() => Message::text(word.to_string()),
        };
        if to.send(message).await.is_err() {
            return;
        }
    }
}

async fn open(host: &Host, id: &str) -> Result<Socket, Fail> {
    let path = format!("/v1/sandboxes/{}/exec/ws", super::http::escaped(id));
    let request = host
        .request(Method::GET, &host.socket(&path))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header(
            "sec-websocket-key",
            tokio_tungstenite::tungstenite::handshake::client::generate_key(),
        )
        .body(())
        .map_err(|e| Fail::new(e.to_string()))?;
    let stream = host.connect().await?;
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
            let text = answer.body().as_deref().unwrap_or_default();
            let problem: Value = serde_json::from_slice(text).unwrap_or_default();
            let detail = problem.get("detail").and_then(Value::as_str);
            Err(Fail::new(
                detail.map_or_else(|| answer.status().to_string(), str::to_owned),
            ))
        }
        Err(e) => Err(lost(&e)),
    }
}

/// The first byte says which stream.
fn show(bytes: &[u8]) -> Result<(), Fail> {
    let Some((stream, rest)) = bytes.split_first() else {
        return Ok(());
    };
    let written = match stream {
        2 => std::io::stderr().write_all(rest),
        _ => std::io::stdout()
            .write_all(rest)
            .and_then(|()| std::io::stdout().flush()),
    };
    // A reader that went away ends the command, as a pipe would.
    written.map_err(|e| Fail::new(format!("nobody reads the output: {e}")).code(141))
}

/// The exit code, if that was the end.
fn ended(value: &Value) -> Result<Option<u8>, Fail> {
    if let Some(error) = value.get("error") {
        let detail = error
            .get("detail")
            .and_then(Value::as_str)
            .unwrap_or("the program was not started");
        let code = match error.get("status").and_then(Value::as_u64) {
            Some(404) => 127,
            Some(400) => 126,
            _ => 125,
        };
        return Err(Fail::new(detail).code(code));
    }
    let Some(end) = value.get("ended") else {
        return Ok(None);
    };
    let number = |name: &str| end.get(name).and_then(Value::as_i64);
    Ok(Some(match (number("exit_code"), number("signal")) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(1),
        (None, Some(signal)) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(255),
        (None, None) => 1,
    }))
}

/// Standard input, read by a thread of its own: a terminal cannot be waited for in any other way that leaves it as it was.
fn stdin() -> mpsc::Receiver<Bytes> {
    let (give, take) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        let mut buffer = vec![0u8; 32 * 1024];
        while let Ok(n @ 1..) = std::io::stdin().read(&mut buffer) {
            let piece = Bytes::copy_from_slice(buffer.get(..n).unwrap_or(&[]));
            if give.blocking_send(piece).is_err() {
                return;
            }
        }
    });
    take
}

/// What the caller's terminal and its user do, as words for the daemon.
struct Signals {
    interrupt: Signal,
    end: Signal,
    hangup: Signal,
    size: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            end: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            size: signal(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> Value {
        let name = |name: &str| json!({"signal": {"signal": name}});
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return name("INT"),
                _ = self.end.recv() => return name("TERM"),
                _ = self.hangup.recv() => return name("HUP"),
                _ = self.size.recv() => if let Some(size) = terminal::size() {
                    return json!({"resize": {"rows": size.rows, "cols": size.cols}});
                },
            }
        }
    }
}
