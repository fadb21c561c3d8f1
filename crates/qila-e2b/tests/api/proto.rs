//! The same calls in protobuf, written by hand: what the SDKs for other languages send.
use crate::support::{Client, envelope, envelopes};
use axum::body::Body;
use http::Request;

/// A field with a length: strings, bytes and messages.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128);
    let mut all = vec![number << 3 | 2, bytes.len() as u8];
    all.extend(bytes);
    all
}

fn post(id: &str, method: &str, kind: &str, body: Vec<u8>) -> Request<Body> {
    let request = Request::post(format!("/{method}")).header("e2b-sandbox-id", id);
    request
        .header("content-type", kind)
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn a_program_runs_in_protobuf() {
    let c = Client::new();
    let id = c.sandbox().await;
    let config = [
        field(1, b"/bin/sh"),
        field(2, b"-c"),
        field(2, b"printf hi; exit 3"),
    ]
    .concat();
    let start = [field(1, &config), vec![4 << 3, 0]].concat();
    let answer = c
        .envd(post(
            &id,
            "process.Process/Start",
            "application/connect+proto",
            envelope(&start),
        ))
        .await;
    assert_eq!(answer.headers["content-type"], "application/connect+proto");
    let all = envelopes(&answer.bytes);
    // event(1) . start(1) . pid(1)
    assert_eq!(all[0].1[..3], [0x0a, all[0].1[1], 0x0a]);
    // event(1) . data(2) . stdout(1) = "hi"
    assert_eq!(all[1].1, field(1, &field(2, &field(1, b"hi"))));
    let end = [
        vec![1 << 3, 6, 2 << 3, 1],
        field(3, b"exit status 3"),
        field(4, b"exit status 3"),
    ]
    .concat();
    assert_eq!(all[2].1, field(1, &field(3, &end)));
    assert_eq!((all[3].0, &all[3].1[..]), (2, &b"{}"[..]));
}

#[tokio::test]
async fn a_file_is_looked_at_in_protobuf() {
    let c = Client::new();
    let id = c.sandbox().await;
    c.run(&id, "printf 12345 > f", &[]).await;
    let answer = c
        .envd(post(
            &id,
            "filesystem.Filesystem/Stat",
            "application/proto",
            field(1, b"f"),
        ))
        .await;
    assert_eq!(
        (
            answer.status.as_u16(),
            answer.headers["content-type"].to_str().unwrap()
        ),
        (200, "application/proto")
    );
    let bytes = &answer.bytes;
    // entry(1), which begins with name(1) = "f" and type(2) = FILE
    assert_eq!(bytes[0], 0x0a);
    let start = bytes.windows(5).position(|w| w == [0x0a, 1, b'f', 0x10, 1]);
    assert!(start.is_some(), "{bytes:?}");
    // size(4) = 5
    assert!(bytes.windows(2).any(|w| w == [0x20, 5]));
    let missing = c
        .envd(post(
            &id,
            "filesystem.Filesystem/Stat",
            "application/proto",
            field(1, b"none"),
        ))
        .await;
    assert_eq!(missing.json()["code"], "not_found");
}
