//! Server-sent events, each sent when the client has said that it has the one before: whoever buffers shows as late.
use super::serve::{Answer, Body, Call, json, set};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::sync::mpsc;

/// Events of a stream.
pub const EVENTS: u64 = 4;
/// Longest wait for an acknowledgement. Long: only a stream that is held back, or a client that died, waits so long.
const PATIENCE: Duration = Duration::from_secs(4);

pub(crate) async fn answer(call: Call) -> Answer {
    let id = call.parameter("id").to_owned();
    if call.path == "/ack" {
        let number = call.parameter("n").parse().unwrap_or(u64::MAX);
        let waiting = call.shared.waiting.lock().unwrap();
        let heard = waiting.get(&id).is_some_and(|w| w.send(number).is_ok());
        return json(StatusCode::OK, &serde_json::json!({"heard": heard}));
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    call.shared.waiting.lock().unwrap().insert(id.clone(), tell);
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, std::io::Error>::new(1);
    let (entry, shared) = (call.entry.clone(), call.shared.clone());
    tokio::spawn(async move {
        for number in 0..EVENTS {
            let event = format!("id: {number}\ndata: {{\"n\": {number}}}\n\n");
            if sender.send_data(Bytes::from(event)).await.is_err() {
                entry.note("cancelled");
                return;
            }
            match tokio::time::timeout(PATIENCE, told.recv()).await {
                Ok(Some(n)) if n == number => entry.note(format!("heard {number}")),
                _ => {
                    entry.note(format!("late {number}"));
                    break;
                }
            }
        }
        let _ = sender
            .send_data(Bytes::from_static(b"event: done\ndata: {}\n\n"))
            .await;
        shared.waiting.lock().unwrap().remove(&id);
    });
    let body: Body = body.boxed();
    let mut response = Response::new(body);
    set(&mut response, "content-type", "text/event-stream");
    set(&mut response, "cache-control", "no-cache");
    response
}
