//! Ordinary requests: echo, large fields, fields after a body, uploads, ranges, redirects, and silence.
use super::record::Entry;
use super::serve::{Answer, Body, Call, full, json, set};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json as object;
use sha2::{Digest, Sha256};

/// Fields of a large response, and bytes of each.
const LARGE: (usize, usize) = (12, 1000);

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of which ranges are served.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| b'a' + (i % 26) as u8).collect()
}

pub(crate) async fn answer(mut call: Call) -> Answer {
    match call.path.as_str() {
        "/large" => large(),
        "/trailers" => trailers().await,
        "/range" => range(&call),
        "/redirect" => redirect(&call),
        "/never" => never(call.entry).await,
        "/graphql" => {
            let body = call.body().await;
            let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            json(
                StatusCode::OK,
                &object!({"data": {"viewer": {"login": "me"}}, "asked": asked["query"]}),
            )
        }
        "/refuse" => {
            let mut response = json(StatusCode::EXPECTATION_FAILED, &object!({"refused": true}));
            set(&mut response, "connection", "close");
            response
        }
        _ => echo(&mut call).await,
    }
}

async fn echo(call: &mut Call) -> Answer {
    let body = call.body().await;
    let headers: serde_json::Map<String, serde_json::Value> = call
        .request
        .headers()
        .iter()
        .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into()))
        .collect();
    let answer = object!({
        "method": call.request.method().as_str(),
        "target": call.request.uri().path_and_query().map(|p| p.as_str()),
        "headers": headers,
        "length": body.len(),
        "sha256": hex(&Sha256::digest(&body)),
    });
    json(StatusCode::OK, &answer)
}

fn large() -> Answer {
    let mut response = json(StatusCode::OK, &object!({"large": true}));
    for n in 0..LARGE.0 {
        let name = http::HeaderName::try_from(format!("x-large-{n}")).unwrap();
        let value = HeaderValue::try_from("v".repeat(LARGE.1)).unwrap();
        response.headers_mut().insert(name, value);
    }
    response
}

async fn trailers() -> Answer {
    let (mut sender, body) = http_body_util::channel::Channel::<Bytes, std::io::Error>::new(4);
    tokio::spawn(async move {
        for part in ["one ", "two ", "three"] {
            let _ = sender.send_data(Bytes::from_static(part.as_bytes())).await;
        }
        let mut fields = HeaderMap::new();
        fields.insert("x-sum", HeaderValue::from_static("three-parts"));
        let _ = sender.send_trailers(fields).await;
    });
    let body: Body = body.boxed();
    let mut response = Response::new(body);
    set(&mut response, "trailer", "x-sum");
    response
}

fn range(call: &Call) -> Answer {
    let whole = pattern(1000);
    let asked = call.request.headers().get("range").and_then(|v| v.to_str().ok());
    let bounds = asked
        .and_then(|r| r.strip_prefix("bytes="))
        .and_then(|r| r.split_once('-'))
        .and_then(|(a, b)| Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?)));
    let Some((from, to)) = bounds else {
        return Response::new(full(whole));
    };
    let part = whole.get(from..=to).unwrap_or_default().to_vec();
    let mut response = Response::new(full(part));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    set(&mut response, "content-range", &format!("bytes {from}-{to}/1000"));
    set(&mut response, "accept-ranges", "bytes");
    response
}

fn redirect(call: &Call) -> Answer {
    let mut response = json(StatusCode::FOUND, &object!({"moved": true}));
    let to = match call.parameter("to") {
        "" => "https://other.test/echo".to_owned(),
        host => format!("https://{host}/echo"),
    };
    set(&mut response, "location", &to);
    response
}

/// Notes that nobody waits any longer.
struct Guard(Entry);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.note("cancelled");
    }
}

async fn never(entry: Entry) -> Answer {
    let _guard = Guard(entry);
    tokio::time::sleep(std::time::Duration::from_secs(120)).await;
    json(StatusCode::OK, &object!({}))
}
