//! Programs: run to the end, listened to, spoken to.
use crate::client::until;
use crate::running::{Running, start, with};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

async fn exec(server: &Running, body: Value) -> Value {
    let at = format!("/v1/sandboxes/{}/exec", server.sandbox().id);
    let answer = server.ask("POST", &at, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_program_is_run_and_its_end_is_told() {
    let server = start().await;
    let said = exec(&server, json!({"argv": ["echo", "a", "ü"]})).await;
    assert_eq!(
        said,
        json!({
            "exit_code": 0, "signal": null, "stdout": "a ü\n", "stdout_encoding": "utf8", "stderr": "",
            "stderr_encoding": "utf8", "truncated": false, "timed_out": false,
        })
    );
    let said = exec(&server, json!({"argv": ["exit", "7"]})).await;
    assert_eq!((&said["exit_code"], &said["stderr"]), (&json!(7), &json!("no\n")));
    let said = exec(&server, json!({"argv": ["cat"], "stdin": "in"})).await;
    assert_eq!(said["stdout"], "in");
    let said = exec(
        &server,
        json!({"argv": ["cat"], "stdin": "//4A", "stdin_encoding": "base64"}),
    )
    .await;
    assert_eq!(
        (&said["stdout"], &said["stdout_encoding"]),
        (&json!("//4A"), &json!("base64"))
    );
    let said = exec(&server, json!({"argv": ["flood", "48"]})).await;
    assert_eq!(said["truncated"], true);
    assert_eq!(said["stdout"].as_str().unwrap().len(), 1 << 20);
    let begun = Instant::now();
    let said = exec(&server, json!({"argv": ["sleep"], "timeout_ms": 100})).await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!((&said["timed_out"], &said["signal"]), (&json!(true), &json!(9)));
    assert_eq!(server.node.signals.lock().unwrap().len(), 1);
    let at = format!("/v1/sandboxes/{}/exec", server.sandbox().id);
    for bad in [
        "{}",
        r#"{"argv": []}"#,
        r#"{"argv": ["a"], "shell": "a"}"#,
        r#"{"argv": ["a"], "timeout_ms": 0}"#,
        r#"{"argv": ["a"], "stdin": "!", "stdin_encoding": "base64"}"#,
        r#"{"argv": ["a"], "input": true}"#,
    ] {
        server.ask("POST", &at, bad).await.problem(400);
    }
}

#[tokio::test]
async fn a_program_whose_client_goes_away_is_killed() {
    let server = start().await;
    let at = format!("/v1/sandboxes/{}/exec", server.sandbox().id);
    tokio::select! {
        _ = server.ask("POST", &at, r#"{"argv": ["sleep"]}"#) => panic!("it has no end"),
        () = until("it runs", async || !server.node.inputs.lock().unwrap().is_empty()) => {}
    }
    until("it goes on", async || killed(&server)).await;
}

fn killed(server: &Running) -> bool {
    let signals = server.node.signals.lock().unwrap();
    signals.iter().any(|(_, signal)| *signal == 9)
}

#[tokio::test]
async fn a_program_whose_client_goes_away_while_it_is_started_is_killed() {
    let server = with(|c| c.limits.requests = 1).await;
    let at = format!("/v1/sandboxes/{}/exec", server.sandbox().id);
    let gone = r#"{"argv": ["sleep"], "kill_on_disconnect": true}"#;
    for (n, (path, body)) in [
        (at.clone(), r#"{"argv": ["sleep"]}"#),
        (format!("{at}/stream"), gone),
    ]
    .into_iter()
    .enumerate()
    {
        server.node.hold.store(true, Ordering::SeqCst);
        tokio::select! {
            _ = server.ask("POST", &path, body) => panic!("it is held"),
            () = until("it has begun", async || server.node.has_begun(n + 1)) => {}
        }
        // Its place is free once the server knows that the client is gone.
        let free = async || server.ask("GET", "/v1/policies", "").await.status == 200;
        until("the client is gone", free).await;
        server.node.hold.store(false, Ordering::SeqCst);
        let ended = async || server.node.signals.lock().unwrap().len() == n + 1;
        until("it goes on", ended).await;
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_told_to_end_is_told_again() {
    let server = start().await;
    let at = format!("/v1/sandboxes/{}/exec", server.sandbox().id);
    for path in [at.clone(), format!("{at}/stream")] {
        server.node.deaf.store(1, Ordering::SeqCst);
        let ended = server
            .ask("POST", &path, r#"{"argv": ["sleep"], "timeout_ms": 50}"#)
            .await
            .text();
        assert!(ended.contains(r#""signal":9"#), "{ended}");
    }
    let ended = async || server.node.signals.lock().unwrap().len() == 2;
    until("they go on", ended).await;
}

#[tokio::test]
async fn times_and_signals_do_not_wait_behind_what_is_not_read() {
    let server = start().await;
    let at = format!("/v1/sandboxes/{}/exec", server.sandbox().id);
    let long = "x".repeat(500_000);
    let body = json!({"argv": ["busy"], "timeout_ms": 50, "stdin": long, "input": true}).to_string();
    let killed = server.ask("POST", &format!("{at}/stream"), &body).await.text();
    assert!(killed.contains(r#"{"exit_code":null,"signal":9}"#), "{killed}");
    for (first, signal) in [
        (r#"{"argv": ["busy"]}"#, 2),
        (r#"{"argv": ["busy"], "timeout_ms": 50}"#, 9),
    ] {
        let mut socket = open(&server, &format!("{at}/ws")).await;
        socket.send(Message::text(first)).await.unwrap();
        for _ in 0..20 {
            socket.send(Message::binary(vec![b'x'; 1000])).await.unwrap();
        }
        if signal == 2 {
            let word = Message::text(r#"{"signal": {"signal": "INT"}}"#);
            socket.send(word).await.unwrap();
        }
        socket.next().await.unwrap().unwrap();
        let ended = socket.next().await.unwrap().unwrap().into_text().unwrap();
        assert!(ended.contains(&format!(r#""signal":{signal}"#)), "{ended}");
    }
}

#[tokio::test]
async fn what_a_program_says_is_a_stream_of_events() {
    let server = start().await;
    let at = format!("/v1/sandboxes/{}/exec/stream", server.sandbox().id);
    let said = server.ask("POST", &at, r#"{"argv": ["echo", "hello"]}"#).await;
    assert_eq!(said.headers["content-type"], "text/event-stream");
    let text = said.text();
    let events: Vec<_> = text.split("\n\n").filter(|e| !e.is_empty()).collect();
    assert!(
        events[0].contains("event: started") && events[0].contains("data: {\"pid\":"),
        "{text}"
    );
    assert!(
        events[1].contains("event: stdout") && events[1].contains("id: 6"),
        "{text}"
    );
    assert!(
        events[1].contains(r#"{"data":"hello\n","encoding":"utf8"}"#),
        "{text}"
    );
    assert!(
        events[2].contains("event: ended") && events[2].contains("\"exit_code\":0"),
        "{text}"
    );
    let killed = server
        .ask("POST", &at, r#"{"argv": ["sleep"], "timeout_ms": 50}"#)
        .await
        .text();
    assert!(killed.contains(r#"{"exit_code":null,"signal":9}"#), "{killed}");
}

/// A program is told something, and the server takes it.
async fn told(server: &Running, path: &str, body: &str) {
    let answer = server.ask("POST", path, body).await;
    assert_eq!(answer.status, 204, "{path}: {}", answer.text());
}

#[tokio::test]
async fn a_program_is_come_back_to_and_spoken_to() {
    let server = start().await;
    let me = crate::running::tenant("one");
    let sandbox = server.sandbox().id;
    let exec = qila_api::Exec {
        argv: vec!["sleep".into()],
        ..Default::default()
    };
    let mut process = qila_api::Node::exec(&*server.node, &me, &sandbox, exec)
        .await
        .unwrap();
    let at = format!("/v1/sandboxes/{sandbox}/processes/{}", process.pid.0);
    let stream = server
        .ask_with("GET", &format!("{at}/stream"), "", &[("last-event-id", "17")])
        .await
        .text();
    assert!(
        stream.contains("From(17)") && stream.contains("id: 25"),
        "{stream}"
    );
    // Where `now` is, nobody knows: an id would lead to another place.
    let stream = server.ask("GET", &format!("{at}/stream"), "").await.text();
    assert!(stream.contains("Now") && !stream.contains("id:"), "{stream}");
    let stream = server.ask("GET", &format!("{at}/stream?from=3"), "").await.text();
    assert!(
        stream.contains("From(3)") && stream.contains("id: 10"),
        "{stream}"
    );
    server
        .ask_with("GET", &format!("{at}/stream"), "", &[("last-event-id", "x")])
        .await
        .problem(400);
    told(&server, &format!("{at}/input"), r#"{"data": "hi"}"#).await;
    assert_eq!(
        process.output.recv().await,
        Some(qila_api::Output::Stdout("hi".into()))
    );
    told(&server, &format!("{at}/resize"), r#"{"rows": 3, "cols": 4}"#).await;
    assert_eq!(
        process.output.recv().await,
        Some(qila_api::Output::Stderr("3x4".into()))
    );
    server
        .ask("POST", &format!("{at}/signal"), r#"{"signal": "NO"}"#)
        .await
        .problem(400);
    told(&server, &format!("{at}/signal"), r#"{"signal": "sigint"}"#).await;
    assert_eq!(*server.node.signals.lock().unwrap(), [(process.pid.0, 2)]);
    let other = format!("/v1/sandboxes/{sandbox}/processes/tag:none/signal");
    server
        .ask("POST", &other, r#"{"signal": "9"}"#)
        .await
        .problem(404);
}

#[tokio::test]
async fn a_web_socket_has_a_place_until_it_ends() {
    let server = with(|c| c.limits.requests = 2).await;
    let at = format!("/v1/sandboxes/{}/exec/ws", server.sandbox().id);
    let sockets = [open(&server, &at).await, open(&server, &at).await];
    server.ask("GET", "/v1/policies", "").await.problem(429);
    drop(sockets);
    let free = async || server.ask("GET", "/v1/policies", "").await.status == 200;
    until("its place is free", free).await;
}

async fn open(server: &Running, path: &str) -> WebSocketStream<TcpStream> {
    let at = format!("ws://{}{path}", server.at);
    let mut request = at.into_client_request().unwrap();
    request
        .headers_mut()
        .insert("x-api-key", server.key.parse().unwrap());
    let stream = TcpStream::connect(server.at).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

#[tokio::test]
async fn a_web_socket_goes_both_ways() {
    let server = start().await;
    let at = format!("/v1/sandboxes/{}/exec/ws", server.sandbox().id);
    let open = async || open(&server, &at).await;
    let mut socket = open().await;
    socket.send(Message::text(r#"{"argv": ["cat"]}"#)).await.unwrap();
    let started = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(started.contains("started"), "{started}");
    socket.send(Message::binary(b"abc".to_vec())).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::binary(b"\x01abc".to_vec())
    );
    socket
        .send(Message::text(r#"{"resize": {"rows": 5, "cols": 6}}"#))
        .await
        .unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::binary(b"\x025x6".to_vec())
    );
    socket.send(Message::text(r#"{"end": {}}"#)).await.unwrap();
    let ended = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&ended).unwrap()["ended"]["exit_code"],
        0
    );
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));

    for bad in [r#"{"argv": []}"#, "no json", r#"{"argv": ["cat"], "more": 1}"#] {
        let mut socket = open().await;
        socket.send(Message::text(bad)).await.unwrap();
        let told = socket.next().await.unwrap().unwrap().into_text().unwrap();
        assert!(told.contains(r#""status":400"#), "{told}");
    }
    let mut socket = open().await;
    let gone = r#"{"argv": ["sleep"], "kill_on_disconnect": true}"#;
    socket.send(Message::text(gone)).await.unwrap();
    socket.next().await.unwrap().unwrap();
    drop(socket);
    until("it goes on", async || killed(&server)).await;
}

#[tokio::test]
async fn events_go_on_where_they_broke_off() {
    let server = start().await;
    let bearer = format!("Bearer {}", server.key);
    for (path, header, first) in [
        ("/v1/events?after=4", None, 5),
        ("/v1/events?after=4", Some("9"), 10),
    ] {
        let last = header
            .map(|l| format!("last-event-id: {l}\r\n"))
            .unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: {bearer}\r\n{last}\r\n");
        let id = format!("id: {first}\n");
        let is = |text: &str| text.contains(&id) && text.contains(r#""kind":"created""#);
        let text = crate::client::raw_until(server.at, request.as_bytes(), is).await;
        assert!(is(&text), "{text}");
        assert!(!text.contains(&format!("id: {}\n", first - 1)), "{text}");
    }
}
