//! A client over one kept connection. It says whether an answer came: what had none may have been done or not.
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longest body that is read.
const LONGEST: usize = 256 << 20;

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics with what was answered unless it is this status.
    pub fn must(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// An answer, or why there is none.
pub type Asked = Result<Answer, String>;

/// A client with a key.
pub struct Client {
    address: SocketAddr,
    key: String,
    connection: Option<SendRequest<Full<Bytes>>>,
    patience: Duration,
}

impl Client {
    /// For a server, with a key (none if empty).
    pub fn new(address: SocketAddr, key: &str) -> Client {
        Client {
            address,
            key: key.to_owned(),
            connection: None,
            patience: PATIENCE,
        }
    }

    /// Another one of the same, with a connection of its own.
    pub fn another(&self) -> Client {
        Client::new(self.address, &self.key)
    }

    /// The same with another limit of time.
    pub fn patient(mut self, patience: Duration) -> Client {
        self.patience = patience;
        self
    }

    async fn connection(&mut self) -> Result<SendRequest<Full<Bytes>>, String> {
        if let Some(mut kept) = self.connection.take()
            && kept.ready().await.is_ok()
        {
            return Ok(kept);
        }
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|e| format!("connecting: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let (send, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(async move {
            // Whoever asks is told when it breaks.
            let _ = connection.await;
        });
        Ok(send)
    }

    fn request(&self, method: &str, path: &str, more: &[(&str, &str)], body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string());
        if !self.key.is_empty() {
            request = request.header("x-api-key", &self.key);
        }
        if !more.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        request.body(Full::new(body)).expect("a request")
    }

    /// Sends a request; the connection is the answer's.
    pub async fn open(
        &mut self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
        body: &Value,
    ) -> Result<Response<Incoming>, String> {
        let body = match body {
            Value::Null => Bytes::new(),
            body => Bytes::from(body.to_string()),
        };
        let request = self.request(method, path, more, body);
        let mut send = self.connection().await?;
        let answer = timeout(self.patience, send.send_request(request)).await;
        answer
            .map_err(|_| format!("{method} {path}: no answer in time"))?
            .map_err(|e| format!("{method} {path}: {e}"))
    }

    /// Asks with a body of bytes and further headers.
    pub async fn raw(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: Bytes) -> Asked {
        let request = self.request(method, path, more, body);
        let patience = self.patience;
        let whole = async {
            let mut send = self.connection().await?;
            let answer = send.send_request(request).await.map_err(|e| e.to_string())?;
            let (head, body) = answer.into_parts();
            let body = http_body_util::Limited::new(body, LONGEST)
                .collect()
                .await
                .map_err(|e| e.to_string())?;
            // A server that refuses may close what it has not read to its end.
            if head.status.is_success() {
                self.connection = Some(send);
            }
            Ok(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        timeout(patience, whole)
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
            .map_err(|why: String| format!("{method} {path}: {why}"))
    }

    /// Asks with JSON; null: no body.
    pub async fn ask(&mut self, method: &str, path: &str, body: &Value) -> Asked {
        let body = match body {
            Value::Null => Bytes::new(),
            body => Bytes::from(body.to_string()),
        };
        self.raw(method, path, &[], body).await
    }

    /// Makes a sandbox of a body and returns its id; panics if it cannot.
    pub async fn create(&mut self, body: &Value) -> String {
        let made = self
            .ask("POST", "/v1/sandboxes", body)
            .await
            .expect("an answer")
            .must(201);
        made.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Runs a line of a shell; panics if there is no answer.
    pub async fn shell(&mut self, id: &str, line: &str) -> Value {
        let body = serde_json::json!({"shell": line});
        let path = format!("/v1/sandboxes/{id}/exec");
        self.ask("POST", &path, &body)
            .await
            .expect("an answer")
            .must(200)
            .json()
    }

    /// Ends a sandbox; panics unless it was there.
    pub async fn delete(&mut self, id: &str) {
        let path = format!("/v1/sandboxes/{id}");
        let ended = self.ask("DELETE", &path, &Value::Null).await;
        ended.expect("an answer").must(204);
    }

    /// What a file of a sandbox holds, as text; panics unless it can be read.
    pub async fn file(&mut self, id: &str, path: &str) -> String {
        let path = format!("/v1/sandboxes/{id}/files?path={path}");
        self.ask("GET", &path, &Value::Null)
            .await
            .expect("an answer")
            .must(200)
            .text()
    }

    /// Ids of all sandboxes.
    pub async fn sandboxes(&mut self) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let more = after.map_or(String::new(), |a| format!("&after={a}"));
            let path = format!("/v1/sandboxes?limit=1000{more}");
            let page = self
                .ask("GET", &path, &Value::Null)
                .await
                .expect("an answer")
                .must(200)
                .json();
            let items = page["items"].as_array().expect("items");
            all.extend(items.iter().filter_map(|s| s["id"].as_str().map(str::to_owned)));
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => return all,
            }
        }
    }
}
