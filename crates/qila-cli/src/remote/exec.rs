//! A command in a sandbox elsewhere, with the caller's own streams.
use super::http::{Host, Wire, gone};
use super::signals::{Done, Signals};
use super::streams::{self, Output};
use crate::fail::Fail;
use crate::ps::harmless;
use crate::run::terminal::{self, Raw};
use bytes::Bytes;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use hyper::Method;
use qila_types::Millis;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long the daemon may take to agree to a WebSocket.
const AGREED: Duration = Duration::from_secs(30);
/// Exit code when the time that was asked for is over, as when a limit of a policy ends a run.
pub(crate) const LIMIT: u8 = 124;
const SIGKILL: i64 = 9;

type Socket = WebSocketStream<Box<dyn Wire>>;

/// A program that is to run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: Option<String>,
    /// Time after which it is killed.
    pub time: Option<Millis>,
}

impl Program {
    /// As the daemon wants it.
    pub(crate) fn wish(&self) -> Value {
        let mut body = json!({"argv": self.argv, "env": self.env});
        if let Some(object) = body.as_object_mut() {
            if let Some(cwd) = &self.cwd {
                object.insert("cwd".into(), cwd.as_str().into());
            }
            if let Some(time) = self.time {
                object.insert("timeout_ms".into(), time.0.into());
            }
        }
        body
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Exit code, 128 + N for signal N, 124 if its time was over.
    pub code: u8,
    /// The signal that ended it.
    pub signal: Option<i64>,
    /// Its time was over.
    pub late: bool,
    /// Bytes that it said.
    pub output: u64,
}

/// Runs a program to its end. It is killed if this process goes away.
pub(crate) async fn run(
    host: &Host,
    id: &str,
    program: &Program,
    mut signals: Signals,
) -> Result<Ended, Fail> {
    let size = terminal::size();
    let mut body = program.wish();
    if let Some(object) = body.as_object_mut() {
        object.insert("input".into(), true.into());
        object.insert("kill_on_disconnect".into(), true.into());
        if let Some(size) = size {
            object.insert("terminal".into(), json!({"rows": size.rows, "cols": size.cols}));
        }
    }
    let mut socket = tokio::select! {
        socket = open(host, id) => socket?,
        number = signals.ending() => return Ok(Ended { code: 128 | number, ..Ended::default() }),
    };
    let begun = Instant::now();
    socket
        .send(Message::text(body.to_string()))
        .await
        .map_err(|e| gone(&e.to_string()))?;
    let raw = size.and_then(|_| Raw::enter());
    // Each way goes on by itself: a program that says much before it takes what it is told makes nobody wait for ever.
    let (to, mut from) = socket.split();
    let talking = tokio::spawn(talk(to, streams::input(), signals));
    let output = Output::begin();
    let mut said = 0;
    let heard = loop {
        match from.next().await {
            // The first byte says which stream.
            Some(Ok(Message::Binary(mut bytes))) if !bytes.is_empty() => {
                let stream = bytes.split_to(1);
                said += bytes.len() as u64;
                if output.write(stream.first() == Some(&2), bytes).await.is_err() {
                    break Ok(Ended::default());
                }
            }
            Some(Ok(Message::Text(text))) => match ended(&serde_json::from_str(&text).unwrap_or_default()) {
                Ok(None) => {}
                Ok(Some(end)) => break Ok(end),
                Err(fail) => break Err(fail),
            },
            Some(Ok(Message::Close(_))) | None => break Err(gone("it closed the connection")),
            Some(Ok(_)) => {}
            Some(Err(e)) => break Err(gone(&e.to_string())),
        }
    };
    let written = output.end().await;
    talking.abort();
    drop(raw);
    let mut end = heard?;
    written?;
    let time = program.time.map(|t| Duration::from_millis(t.0));
    end.output = said;
    end.late = end.signal == Some(SIGKILL) && time.is_some_and(|time| begun.elapsed() >= time);
    if end.late {
        end.code = LIMIT;
    }
    Ok(end)
}

/// Sends what is said to the program until nobody takes it any more: who listens hears why.
async fn talk(mut to: SplitSink<Socket, Message>, mut input: mpsc::Receiver<Bytes>, mut signals: Signals) {
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
            done = signals.next() => Message::text(match done {
                Done::Signal(name, _) => json!({"signal": {"signal": name}}),
                Done::Resize { rows, cols } => json!({"resize": {"rows": rows, "cols": cols}}),
            }.to_string()),
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
    let agreed = tokio::time::timeout(AGREED, tokio_tungstenite::client_async(request, stream)).await;
    match agreed.map_err(|_| gone("it does not answer"))? {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
            let after = super::http::after(answer.headers());
            let text = answer.body().as_deref().unwrap_or_default();
            Err(super::http::refusal(answer.status(), after, text))
        }
        Err(e) => Err(gone(&e.to_string())),
    }
}

/// How it ended, if that was the end.
pub(crate) fn ended(value: &Value) -> Result<Option<Ended>, Fail> {
    if let Some(error) = value.get("error") {
        return Err(not_run(error));
    }
    let Some(end) = value.get("ended") else {
        return Ok(None);
    };
    let number = |name: &str| end.get(name).and_then(Value::as_i64);
    let code = match (number("exit_code"), number("signal")) {
        (Some(code), _) => u8::try_from(code & 0xff).unwrap_or(1),
        (None, Some(signal)) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(255),
        (None, None) => 1,
    };
    let signal = number("signal");
    Ok(Some(Ended {
        code,
        signal,
        ..Ended::default()
    }))
}

/// Why a program was not run, or not to its end.
pub(crate) fn not_run(error: &Value) -> Fail {
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let code = match error.get("status").and_then(Value::as_u64) {
        Some(404) => 127,
        Some(400) => 126,
        _ => 125,
    };
    let detail = text("detail").unwrap_or("the program was not started");
    let fail = Fail::new(harmless(detail)).code(code);
    match text("hint") {
        Some(hint) => fail.hint(harmless(hint)),
        None => fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_a_shell_does() {
        let code = |value: Value| ended(&value).map(|end| end.map(|e| e.code)).map_err(|f| f.code);
        assert_eq!(
            code(json!({"ended": {"exit_code": 7, "signal": null}})),
            Ok(Some(7))
        );
        assert_eq!(
            code(json!({"ended": {"exit_code": null, "signal": 15}})),
            Ok(Some(143))
        );
        assert_eq!(code(json!({"ended": {}})), Ok(Some(1)));
        assert_eq!(code(json!({"started": {"pid": 3}})), Ok(None));
        for (status, expected) in [(404, 127), (400, 126), (410, 125), (429, 125)] {
            assert_eq!(
                code(json!({"error": {"status": status, "detail": "no"}})),
                Err(expected)
            );
        }
    }
}
