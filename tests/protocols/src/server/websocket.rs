//! WebSocket echo, over an upgrade of HTTP/1.1 and over an extended CONNECT of HTTP/2.
use super::leak;
use super::serve::{Answer, Call, full, json, set};
use futures_util::{SinkExt, StreamExt};
use http::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

pub(crate) async fn answer(mut call: Call) -> Answer {
    let key = call.request.headers().get("sec-websocket-key").cloned();
    let extended = call.request.method() == Method::CONNECT;
    let mut response = Response::new(full(""));
    match key {
        _ if extended => {}
        Some(key) => {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            set(&mut response, "connection", "upgrade");
            set(&mut response, "upgrade", "websocket");
            set(
                &mut response,
                "sec-websocket-accept",
                &derive_accept_key(key.as_bytes()),
            );
        }
        None => {
            return json(
                StatusCode::BAD_REQUEST,
                &serde_json::json!({"error": "no WebSocket"}),
            );
        }
    }
    if let Some(wanted) = call.request.headers().get("sec-websocket-protocol").cloned() {
        set(
            &mut response,
            "sec-websocket-protocol",
            wanted.to_str().unwrap_or_default(),
        );
    }
    let upgrade = hyper::upgrade::on(&mut call.request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else {
            call.entry.note("not upgraded");
            return;
        };
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        echo(call, stream).await;
    });
    response
}

type Stream = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn echo(call: Call, mut stream: Stream) {
    call.entry.note("open");
    while let Some(Ok(message)) = stream.next().await {
        match message {
            Message::Text(text) => {
                call.entry.add(text.as_bytes());
                if let Some(asked) = text.strip_prefix("leak ") {
                    let key = call.shared.key(&call.host).to_owned();
                    let said = leak::encode(asked, &key);
                    if send_in_fragments(&mut stream, &said).await.is_err() {
                        break;
                    }
                } else if stream.send(Message::Text(text)).await.is_err() {
                    break;
                }
            }
            Message::Binary(bytes) => {
                call.entry.add(&bytes);
                if stream.send(Message::Binary(bytes)).await.is_err() {
                    break;
                }
            }
            Message::Close(_) => {
                call.entry.note("closed");
            }
            _ => {}
        }
    }
    call.entry.note("end");
}

/// One message, in frames that break what it says in the middle.
async fn send_in_fragments(
    stream: &mut Stream,
    text: &str,
) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let bytes = text.as_bytes();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let one = Frame::message(first.to_vec(), OpCode::Data(Data::Text), false);
    let two = Frame::message(second.to_vec(), OpCode::Data(Data::Continue), true);
    stream.send(Message::Frame(one)).await?;
    stream.send(Message::Frame(two)).await
}
