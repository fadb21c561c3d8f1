//! Answers that hold the secret, in every place and every usual spelling.
use super::serve::{Answer, Body, Call, full, set};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::BodyExt;
use std::io::Write;
use std::time::Duration;

/// Where the secret is put. `reason` and `name` are places of HTTP/1 that `raw.rs` fills.
pub const POSITIONS: [&str; 9] = [
    "header", "cookie", "location", "body", "chunks", "bytes", "trailer", "sse", "error",
];
/// How it is written.
pub const ENCODINGS: [&str; 11] = [
    "plain",
    "base64",
    "base64-1",
    "base64-2",
    "base64url",
    "url",
    "url-all",
    "json",
    "json-slash",
    "hex",
    "HEX",
];
/// Spellings that JSON allows and that no writer uses: every character escaped.
pub const ODD: [&str; 2] = ["json-all", "JSON-ALL"];

/// The secret in that spelling. `base64-1` and `-2` have so many bytes before it, which shifts every digit.
pub fn encode(encoding: &str, secret: &str) -> String {
    let bytes = secret.as_bytes();
    match encoding {
        "base64" => BASE64_STANDARD.encode(bytes),
        "base64-1" => BASE64_STANDARD.encode(format!("u{secret}!")),
        "base64-2" => BASE64_STANDARD.encode(format!("u:{secret}??")),
        "base64url" => BASE64_URL_SAFE_NO_PAD.encode(bytes),
        "url" => secret.replace('/', "%2F").replace('+', "%2B"),
        "url-all" => bytes.iter().map(|b| format!("%{b:02x}")).collect(),
        "json" => secret.replace('+', "\\u002b"),
        "json-slash" => secret.replace('/', "\\/"),
        "json-all" => bytes.iter().map(|b| format!("\\u{b:04x}")).collect(),
        "JSON-ALL" => bytes.iter().map(|b| format!("\\u{b:04X}")).collect(),
        "hex" => super::plain::hex(bytes),
        "HEX" => super::plain::hex(bytes).to_uppercase(),
        _ => secret.to_owned(),
    }
}

fn streamed(parts: Vec<Bytes>, fields: Option<HeaderMap>) -> Body {
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, std::io::Error>::new(1);
    tokio::spawn(async move {
        for part in parts {
            let _ = sender.send_data(part).await;
            tokio::task::yield_now().await;
        }
        if let Some(fields) = fields {
            let _ = sender.send_trailers(fields).await;
        }
    });
    body.boxed()
}

/// `?at=POSITION&as=ENCODING&pad=N`: the secret after so many other bytes.
pub(crate) async fn answer(mut call: Call) -> Answer {
    let _ = call.body().await;
    let secret = call.shared.key(&call.host).to_owned();
    let said = encode(call.parameter("as"), &secret);
    let pad = ".".repeat(call.parameter("pad").parse().unwrap_or(0).min(200_000));
    let text = format!("{pad}[{said}]{pad}");
    let mut response = Response::new(full("nothing here"));
    match call.parameter("at") {
        "header" => set(&mut response, "x-said", &format!("a {said} b")),
        "cookie" => set(&mut response, "set-cookie", &format!("k={said}; Path=/")),
        "location" => {
            *response.status_mut() = http::StatusCode::FOUND;
            set(
                &mut response,
                "location",
                &format!("https://key.test/echo?k={said}"),
            );
        }
        "chunks" => {
            // A few bytes at a time, so that the secret lies over many chunks or DATA frames.
            let parts = text.as_bytes().chunks(7 + text.len() / 40);
            *response.body_mut() = streamed(parts.map(Bytes::copy_from_slice).collect(), None);
        }
        "bytes" => {
            let parts = text.as_bytes().chunks(1 + text.len() / 200);
            *response.body_mut() = streamed(parts.map(Bytes::copy_from_slice).collect(), None);
        }
        "trailer" => {
            let mut fields = HeaderMap::new();
            fields.insert(
                HeaderName::from_static("x-after"),
                HeaderValue::from_str(&said).unwrap(),
            );
            set(&mut response, "trailer", "x-after");
            *response.body_mut() = streamed(vec![Bytes::from_static(b"nothing here")], Some(fields));
        }
        "sse" => {
            set(&mut response, "content-type", "text/event-stream");
            let event = format!("event: said\ndata: {text}\n\n");
            let half = event.len() / 2;
            let (one, two) = event.as_bytes().split_at(half);
            *response.body_mut() = streamed(
                vec![Bytes::copy_from_slice(one), Bytes::copy_from_slice(two)],
                None,
            );
        }
        "error" => {
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            *response.body_mut() = full(format!("{{\"error\": \"{said}\"}}"));
        }
        // Compressed although nobody asked for it: no masker sees through it, so it must not come through at all.
        "gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            writer.write_all(text.as_bytes()).unwrap();
            set(&mut response, "content-encoding", "gzip");
            *response.body_mut() = full(writer.finish().unwrap());
        }
        // The body breaks off in the middle of the secret.
        "cut" => {
            let (mut sender, body) = http_body_util::channel::Channel::<Bytes, std::io::Error>::new(1);
            let half = said.get(..said.len() / 2).unwrap_or_default().to_owned();
            tokio::spawn(async move {
                let _ = sender.send_data(Bytes::from(half)).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
                sender.abort(std::io::ErrorKind::ConnectionReset.into());
            });
            *response.body_mut() = body.boxed();
        }
        _ => *response.body_mut() = full(text),
    }
    response
}
