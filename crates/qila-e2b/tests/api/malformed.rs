//! What is malformed, truncated or too large is answered, and hurts nobody.
use crate::support::{Client, KEY, envelope, envelopes};
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

fn start(id: &str, body: Vec<u8>, kind: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::post("/process.Process/Start")
        .header("e2b-sandbox-id", id)
        .header("content-type", kind);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn streams_answer_what_is_no_message() {
    let c = Client::new();
    let id = c.sandbox().await;
    let good = envelope(br#"{"process":{"cmd":"/bin/true"}}"#);
    let huge = [vec![0], (9u32 << 20).to_be_bytes().to_vec()].concat();
    for (body, code) in [
        (vec![], "invalid_argument"),
        (b"\0\0\0".to_vec(), "invalid_argument"),
        (good[..good.len() - 1].to_vec(), "invalid_argument"),
        ([good.clone(), good.clone()].concat(), "invalid_argument"),
        (envelope(b"no json"), "invalid_argument"),
        (envelope(b""), "invalid_argument"),
        (envelope(b"[1]"), "invalid_argument"),
        (envelope(br#"{"process":{"cmd":7}}"#), "invalid_argument"),
        (envelope("[".repeat(100_000).as_bytes()), "invalid_argument"),
        ([vec![1], good[1..].to_vec()].concat(), "invalid_argument"),
        ([vec![64], good[1..].to_vec()].concat(), "invalid_argument"),
        (huge, "resource_exhausted"),
    ] {
        let answer = c
            .envd(start(&id, body.clone(), "application/connect+json", &[]))
            .await;
        assert_eq!(answer.status, 200);
        let all = envelopes(&answer.bytes);
        assert_eq!((all.len(), all[0].0), (1, 2));
        let last: Value = serde_json::from_slice(&all[0].1).unwrap();
        assert_eq!(
            last["error"]["code"],
            code,
            "{:?}",
            String::from_utf8_lossy(&body[..body.len().min(60)])
        );
    }
    let garbage = c
        .envd(start(
            &id,
            envelope(b"\xff\xff\xff"),
            "application/connect+proto",
            &[],
        ))
        .await;
    assert!(String::from_utf8_lossy(&garbage.bytes).contains("invalid_argument"));
    for kind in ["application/json", "text/plain", "application/grpc", ""] {
        assert_eq!(
            c.envd(start(&id, good.clone(), kind, &[])).await.status,
            415,
            "{kind}"
        );
    }
    for (header, value, code) in [
        ("connect-timeout-ms", "soon", "invalid_argument"),
        ("connect-timeout-ms", "99999999999", "invalid_argument"),
        ("connect-timeout-ms", "-1", "invalid_argument"),
        ("connect-protocol-version", "2", "invalid_argument"),
        ("keepalive-ping-interval", "0", "invalid_argument"),
        ("connect-content-encoding", "gzip", "unimplemented"),
    ] {
        let answer = c
            .envd(start(
                &id,
                good.clone(),
                "application/connect+json",
                &[(header, value)],
            ))
            .await;
        assert!(
            String::from_utf8_lossy(&answer.bytes).contains(code),
            "{header}: {value}"
        );
    }
    let fine = c
        .envd(start(&id, good, "application/connect+json; charset=utf-8", &[]))
        .await;
    assert_eq!(envelopes(&fine.bytes).last().unwrap().1, "{}");
}

#[tokio::test]
async fn unary_calls_answer_what_is_no_message() {
    let c = Client::new();
    let id = c.sandbox().await;
    let send = async |kind: &str, body: Vec<u8>| {
        let request = Request::post("/filesystem.Filesystem/Stat").header("e2b-sandbox-id", &id);
        c.envd(
            request
                .header("content-type", kind)
                .body(Body::from(body))
                .unwrap(),
        )
        .await
    };
    for body in ["", "{", "null", "[]", r#"{"path":{}}"#] {
        let answer = send("application/json", body.into()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (400, &json!("invalid_argument")),
            "{body}"
        );
    }
    assert_eq!(
        send("application/json", vec![b' '; 9 << 20]).await.json()["code"],
        "resource_exhausted"
    );
    assert_eq!(
        send("application/proto", vec![0xff; 9]).await.json()["code"],
        "invalid_argument"
    );
    assert_eq!(send("application/connect+json", b"{}".to_vec()).await.status, 415);
    // A field that is not known, and one that is null.
    assert_eq!(
        send("application/json", br#"{"path":null,"x":1}"#.to_vec())
            .await
            .status,
        200
    );
    for message in [
        json!({}),
        json!({"process": {}}),
        json!({"process": {"pid": "x"}}),
        json!({"process": {"pid": 0}}),
    ] {
        let answer = c.call(&id, "process.Process/CloseStdin", message.clone()).await;
        assert_eq!(answer.json()["code"], "invalid_argument", "{message}");
    }
    let none = c.call("none", "process.Process/List", json!({})).await;
    assert_eq!(none.status, 502);
    let nowhere = Request::get("/health").body(Body::empty()).unwrap();
    assert_eq!(c.envd(nowhere).await.status, 502);
    let odd = Request::get("/health")
        .header("e2b-sandbox-id", "../x")
        .body(Body::empty())
        .unwrap();
    assert_eq!(c.envd(odd).await.status, 502);
    let route = Request::post("/init")
        .header("e2b-sandbox-id", &id)
        .body(Body::empty())
        .unwrap();
    assert_eq!(c.envd(route).await.json()["code"], 404);
}

#[tokio::test]
async fn streams_of_input_answer_what_is_out_of_order() {
    let c = Client::new();
    let id = c.sandbox().await;
    for messages in [
        vec![],
        vec![json!({"data": {"input": {"stdin": ""}}})],
        vec![json!({})],
        vec![json!({"start": {}})],
        vec![
            json!({"start": {"process": {"pid": 1}}}),
            json!({"start": {"process": {"pid": 1}}}),
        ],
        vec![json!({"keepalive": {}})],
    ] {
        let body: Vec<u8> = messages
            .iter()
            .flat_map(|m| envelope(m.to_string().as_bytes()))
            .collect();
        let request = Request::post("/process.Process/StreamInput").header("e2b-sandbox-id", &id);
        let request = request
            .header("content-type", "application/connect+json")
            .body(Body::from(body))
            .unwrap();
        let answer = c.envd(request).await;
        assert!(
            String::from_utf8_lossy(&answer.bytes).contains("invalid_argument"),
            "{messages:?}"
        );
    }
}

#[tokio::test]
async fn the_control_plane_answers_what_is_no_request() {
    let c = Client::new();
    let send = async |kind: &str, body: Vec<u8>| {
        let request = Request::post("/sandboxes")
            .header("x-api-key", KEY)
            .header("content-type", kind);
        c.plane(request.body(Body::from(body)).unwrap()).await
    };
    for body in ["{", "[]", "null", r#"{"templateID":null}"#, "\u{1}"] {
        let answer = send("application/json", body.into()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (400, &json!(400)),
            "{body}"
        );
    }
    assert_eq!(send("text/plain", b"{}".to_vec()).await.status, 415);
    assert_eq!(send("application/json", vec![b' '; 2 << 20]).await.status, 413);
    for path in [
        "/sandboxes/..%2f..",
        "/sandboxes/%00",
        "/sandboxes/UPPER",
        &format!("/sandboxes/{}", "a".repeat(5000)),
    ] {
        assert_eq!(c.ask("GET", path, None).await.status, 404, "{path}");
    }
}
