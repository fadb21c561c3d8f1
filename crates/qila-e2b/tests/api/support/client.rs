//! A client that says exactly what a test wants it to, to the routers themselves.
use super::node::{Fake, KEY, Keys};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use qila_api::Node;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tower::ServiceExt;

/// Waits until it is so.
pub async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub struct Client {
    pub node: Arc<Fake>,
    plane: Router,
    envd: Router,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("{e}: {} {:?}", self.status, String::from_utf8_lossy(&self.bytes)))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The envelopes of a stream: flags and messages.
pub fn envelopes(mut bytes: &[u8]) -> Vec<(u8, Bytes)> {
    let mut all = Vec::new();
    while let [flags, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        all.push((*flags, Bytes::copy_from_slice(&rest[..length])));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty(), "a stream broke off");
    all
}

pub fn envelope(message: &[u8]) -> Vec<u8> {
    let mut all = vec![0];
    all.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    all.extend(message);
    all
}

impl Client {
    pub fn new() -> Client {
        let node = Fake::new();
        let all: Arc<dyn Node> = node.clone();
        Client {
            node,
            plane: qila_e2b::control(all.clone(), Arc::new(Keys), None),
            envd: qila_e2b::envd(all),
        }
    }

    async fn send(&self, to: &Router, request: Request<Body>) -> http::Response<Body> {
        let sent = to.clone().oneshot(request);
        tokio::time::timeout(Duration::from_secs(20), sent)
            .await
            .expect("an answer in time")
            .unwrap()
    }

    async fn whole(response: http::Response<Body>) -> Answer {
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(Duration::from_secs(20), body.collect())
            .await
            .expect("a body in time");
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes: body.expect("a whole body").to_bytes(),
        }
    }

    /// Asks the control plane with a key.
    pub async fn ask_as(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:3000");
        if !key.is_empty() {
            request = request.header("x-api-key", key);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        Client::whole(self.send(&self.plane, request.body(body).unwrap()).await).await
    }

    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.ask_as(KEY, method, path, body).await
    }

    /// Sends this to the control plane.
    pub async fn plane(&self, request: Request<Body>) -> Answer {
        Client::whole(self.send(&self.plane, request).await).await
    }

    /// Makes a sandbox that needs no token, and answers its id.
    pub async fn sandbox(&self) -> String {
        let made = self
            .ask(
                "POST",
                "/sandboxes",
                Some(serde_json::json!({"templateID": "base"})),
            )
            .await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["sandboxID"].as_str().unwrap().to_owned()
    }

    /// Sends this to envd, and answers the head with the body as it comes.
    pub async fn open(&self, request: Request<Body>) -> http::Response<Body> {
        self.send(&self.envd, request).await
    }

    pub async fn envd(&self, request: Request<Body>) -> Answer {
        Client::whole(self.open(request).await).await
    }

    /// A unary call in JSON.
    pub async fn call(&self, id: &str, method: &str, message: Value) -> Answer {
        let request = Request::post(format!("/{method}")).header("e2b-sandbox-id", id);
        let request = request
            .header("content-type", "application/json")
            .header("connect-protocol-version", "1");
        self.envd(request.body(Body::from(message.to_string())).unwrap())
            .await
    }

    /// The head of a call in JSON whose answer is a stream.
    pub fn stream(id: &str, method: &str, headers: &[(&str, &str)], message: Value) -> Request<Body> {
        let mut request = Request::post(format!("/{method}")).header("e2b-sandbox-id", id);
        request = request
            .header("content-type", "application/connect+json")
            .header("connect-protocol-version", "1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .body(Body::from(envelope(message.to_string().as_bytes())))
            .unwrap()
    }

    /// Runs a shell command to its end: events in JSON, then the end of the stream.
    pub async fn run(&self, id: &str, command: &str, headers: &[(&str, &str)]) -> Vec<Value> {
        let message =
            serde_json::json!({"process": {"cmd": "/bin/sh", "args": ["-c", command]}, "stdin": false});
        let request = Client::stream(id, "process.Process/Start", headers, message);
        let answer = self.envd(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        envelopes(&answer.bytes)
            .iter()
            .map(|(_, m)| serde_json::from_slice(m).unwrap())
            .collect()
    }
}

/// Reads a stream message by message.
pub struct Reading {
    body: Body,
    buffer: Vec<u8>,
}

impl Reading {
    pub fn new(response: http::Response<Body>) -> Reading {
        assert_eq!(response.status(), 200);
        Reading {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }

    /// The next message with its flags; none: the stream is over.
    pub async fn next(&mut self) -> Option<(u8, Value)> {
        loop {
            if let [flags, a, b, c, d, rest @ ..] = &self.buffer[..] {
                let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                if rest.len() >= length {
                    let message = (*flags, serde_json::from_slice(&rest[..length]).unwrap());
                    self.buffer.drain(..5 + length);
                    return Some(message);
                }
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame())
                .await
                .expect("more in time")?;
            self.buffer.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }
}
