//! A gRPC service of raw messages: unary, server stream, client stream and both ways.
use super::serve::{Answer, Body, Call, set};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use std::io;

/// Messages of a server's stream.
pub const MESSAGES: usize = 5;

fn frame(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 5);
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

/// Takes one message off the front.
fn take(buffer: &mut BytesMut) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(buffer.get(1..5)?.try_into().ok()?) as usize;
    if buffer.len() < 5 + length {
        return None;
    }
    buffer.advance(5);
    Some(buffer.split_to(length).to_vec())
}

pub(crate) async fn answer(call: Call) -> Answer {
    let (sender, body) = Channel::<Bytes, io::Error>::new(8);
    tokio::spawn(serve(call, sender));
    let body: Body = body.boxed();
    let mut response = Response::new(body);
    set(&mut response, "content-type", "application/grpc");
    set(&mut response, "x-server", "qila-echo");
    response
}

async fn serve(mut call: Call, mut sender: Sender<Bytes, io::Error>) {
    let method = call.path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut buffer = BytesMut::new();
    let mut messages: Vec<Vec<u8>> = Vec::new();
    while let Some(Ok(part)) = call.request.body_mut().frame().await {
        let Ok(data) = part.into_data() else { continue };
        buffer.extend_from_slice(&data);
        while let Some(message) = take(&mut buffer) {
            call.entry.add(&message);
            if method == "Bidi" {
                let _ = sender.send_data(frame(&message)).await;
            }
            messages.push(message);
        }
    }
    call.entry.note(format!("messages={}", messages.len()));
    let first = messages.first().cloned().unwrap_or_default();
    match method.as_str() {
        "Unary" => drop(sender.send_data(frame(&first)).await),
        "ServerStream" => {
            for n in 0..MESSAGES {
                let message = [first.as_slice(), format!(" {n}").as_bytes()].concat();
                let _ = sender.send_data(frame(&message)).await;
            }
        }
        "ClientStream" => drop(sender.send_data(frame(&messages.concat())).await),
        _ => {}
    }
    let mut fields = HeaderMap::new();
    let known = ["Unary", "ServerStream", "ClientStream", "Bidi"].contains(&method.as_str());
    fields.insert(
        "grpc-status",
        HeaderValue::from_static(if known { "0" } else { "12" }),
    );
    fields.insert("x-after", HeaderValue::from_static("trailer"));
    if method == "Bidi" && first.starts_with(b"leak") {
        let key = call.shared.key(&call.host);
        fields.insert("x-key", HeaderValue::from_str(key).unwrap());
    }
    let _ = sender.send_trailers(fields).await;
}
