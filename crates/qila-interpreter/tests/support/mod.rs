//! A server in this process, and a client of it.
#![allow(dead_code, unreachable_pub, reason = "each test has what it needs of this")]

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use qila_interpreter::Interpret;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// The Python that the tests of the SDKs have packages for, or the system's.
fn python() -> String {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/sdk/inside/bin/python3");
    match std::path::Path::new(own).exists() {
        true => own.into(),
        false => "/usr/bin/python3".into(),
    }
}

pub fn has(program: &str, args: &[&str]) -> bool {
    std::process::Command::new(program)
        .args(args)
        .output()
        .is_ok_and(|o| o.status.success())
}

fn kernel() -> bool {
    let there = has(&python(), &["-c", "import ipykernel, numpy, pandas, matplotlib"]);
    if !there {
        println!("skipped: python3 has no ipykernel, numpy, pandas and matplotlib");
    }
    there
}

pub struct Server {
    address: SocketAddr,
    pub home: tempfile::TempDir,
}

pub async fn server(python: &str) -> Server {
    // Who starts tests in the background has them ignore interruptions, which a shell that they start can then not be told of.
    let interrupted = tokio::signal::unix::SignalKind::interrupt();
    drop(tokio::signal::unix::signal(interrupted).unwrap());
    let home = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let with = Interpret {
        listen: address,
        python: python.into(),
        home: home.path().to_owned(),
    };
    tokio::spawn(qila_interpreter::serve(listener, with));
    Server { address, home }
}

/// One whose Python has a kernel; none where there is none.
pub async fn with_kernel() -> Option<Server> {
    match kernel() {
        true => Some(server(&python()).await),
        false => None,
    }
}

/// Asks for a cell and waits until it has said `on`.
pub async fn begin(server: &Server, wish: Value) -> hyper::body::Incoming {
    let (status, mut body) = server.send("POST", "/execute", wish).await;
    assert_eq!(status, 200);
    loop {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        if String::from_utf8_lossy(&frame).contains("\"on") {
            return body;
        }
    }
}

impl Server {
    pub async fn send(&self, method: &str, path: &str, body: Value) -> (u16, hyper::body::Incoming) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "x")
            .header("content-type", "application/json");
        let answer = sender
            .send_request(request.body(Full::new(Bytes::from(text))).unwrap())
            .await
            .unwrap();
        (answer.status().as_u16(), answer.into_body())
    }

    /// The status, if the server has not hung up before it was told all.
    pub async fn try_send(&self, method: &str, path: &str, body: Value) -> Option<u16> {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", "x");
        let body = Full::new(Bytes::from(body.to_string()));
        let answer = sender.send_request(request.body(body).unwrap()).await;
        answer.ok().map(|a| a.status().as_u16())
    }

    pub async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, body) = self.send(method, path, body).await;
        let bytes = body.collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn run(&self, body: Value) -> Ran {
        let (status, body) = self.send("POST", "/execute", body).await;
        assert_eq!(status, 200);
        let bytes = tokio::time::timeout(Duration::from_secs(60), body.collect())
            .await
            .expect("it ends")
            .unwrap()
            .to_bytes();
        let lines: Vec<Value> = String::from_utf8(bytes.to_vec())
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.last().unwrap()["type"], "end_of_execution");
        Ran(lines)
    }

    pub async fn cell(&self, language: &str, code: &str) -> Ran {
        self.run(json!({"code": code, "language": language})).await
    }
}

#[derive(Debug)]
pub struct Ran(pub Vec<Value>);

impl Ran {
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|l| l["type"] == kind).collect()
    }

    pub fn text(&self, kind: &str) -> String {
        self.of(kind)
            .iter()
            .map(|l| l["text"].as_str().unwrap())
            .collect()
    }

    pub fn main(&self) -> &Value {
        let found = self
            .of("result")
            .into_iter()
            .find(|r| r["is_main_result"] == true);
        found.unwrap_or_else(|| panic!("no result in {:?}", self.0))
    }
}
