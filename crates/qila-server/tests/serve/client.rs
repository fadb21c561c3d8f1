//! A client that says exactly what it is told to.
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long what is sure to come may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is so.
pub async fn until(what: &str, is: impl AsyncFn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {:?}", self.bytes))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The problem that it is, whose status it has.
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:qila:problem:"));
        problem
    }
}

/// Asks on a connection of its own.
pub async fn ask(at: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let stream = TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "127.0.0.1");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        bytes: body.collect().await.unwrap().to_bytes(),
    }
}

/// Sends bytes as they are, and reads the head of what is answered.
pub async fn raw(at: SocketAddr, bytes: &[u8]) -> String {
    raw_until(at, bytes, |answer| answer.contains("\r\n\r\n")).await
}

/// Sends bytes as they are, and reads until this has come or the server closes.
pub async fn raw_until(at: SocketAddr, bytes: &[u8], is: impl Fn(&str) -> bool) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    // The server may answer, and close, before all was sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = String::new();
    let mut piece = [0; 4096];
    let read = async {
        while !is(&answer) {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(n) => answer.push_str(&String::from_utf8_lossy(&piece[..n])),
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, read).await;
    assert!(read.is_ok(), "nothing more comes after {answer:?}");
    answer
}
