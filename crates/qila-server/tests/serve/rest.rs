//! Requests that are answered before all of them was sent.
use crate::client::{PATIENCE, until};
use crate::running::{Running, start, with};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection on which a request without a key was answered. Its body has begun.
async fn refused(server: &Running) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    let head = b"POST /v1/sandboxes HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n\
                 1\r\n{\r\n";
    stream.write_all(head).await.unwrap();
    (stream, String::new())
}

async fn hear(stream: &mut TcpStream, heard: &mut String, until: impl Fn(&str) -> bool) -> bool {
    let mut bytes = [0; 4096];
    let read = async {
        while !until(heard) {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return false,
                Ok(n) => heard.push_str(&String::from_utf8_lossy(&bytes[..n])),
            }
        }
        true
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("it says something")
}

#[tokio::test]
async fn a_rest_that_comes_late_does_not_cost_the_connection() {
    let server = with(|c| c.limits.rest = PATIENCE).await;
    let (mut stream, mut heard) = refused(&server).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream.write_all(b"1\r\n}\r\n0\r\n\r\n").await.unwrap();
    assert!(
        hear(&mut stream, &mut heard, |h| h.contains("401")).await,
        "{heard}"
    );
    assert!(!heard.contains("connection: close"), "{heard}");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(
        hear(&mut stream, &mut heard, |h| h.contains("200 OK")).await,
        "{heard}"
    );
}

#[tokio::test]
async fn before_a_connection_is_closed_the_client_is_told() {
    let server = start().await;
    // It never sends the rest.
    let (mut stream, mut heard) = refused(&server).await;
    assert!(!hear(&mut stream, &mut heard, |_| false).await);
    assert!(
        heard.contains("401") && heard.contains("connection: close"),
        "{heard}"
    );
    // It sends more than anybody reads.
    let (mut stream, mut heard) = refused(&server).await;
    let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..64 {
        // The server may close before all was sent.
        if stream.write_all(piece.as_bytes()).await.is_err() {
            break;
        }
    }
    hear(&mut stream, &mut heard, |h| h.contains("connection: close")).await;
    assert!(heard.is_empty() || heard.contains("connection: close"), "{heard}");
}

#[tokio::test]
async fn a_rest_is_not_waited_for_in_a_place() {
    let answered = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&answered);
    let server = with(move |c| {
        c.limits.rest = PATIENCE;
        c.limits.requests = 1;
        c.log = Some(Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        }));
    })
    .await;
    let (mut stream, mut heard) = refused(&server).await;
    until("it is refused", async || answered.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.ask("GET", "/v1/policies", "").await.status, 200);
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(
        hear(&mut stream, &mut heard, |h| h.ends_with('}')).await,
        "{heard}"
    );
    assert!(heard.contains("401") && heard.contains("No valid key"), "{heard}");
    assert!(!heard.contains("connection: close"), "{heard}");
}

#[tokio::test]
async fn a_rest_that_breaks_off_costs_the_connection() {
    let server = with(|c| c.limits.rest = PATIENCE).await;
    let (mut stream, mut heard) = refused(&server).await;
    stream.write_all(b"no length\r\n").await.unwrap();
    assert!(!hear(&mut stream, &mut heard, |_| false).await);
    assert!(
        heard.contains("401") && heard.contains("connection: close"),
        "{heard}"
    );
}
