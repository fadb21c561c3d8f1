//! Too much at once, clients that vanish, TLS, and the end.
use crate::client::{Answer, ask, raw, until};
use crate::running::{Running, start, with};
use qila_server::{Config, ServeError};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Asks until that is refused, where one request each second comes back: of `left`, no more were let through than that makes.
async fn refused(server: &Running, path: &str, left: u64) -> Answer {
    let begun = Instant::now();
    for let_through in 0..100 {
        let answer = server.ask("GET", path, "").await;
        if answer.status == 429 {
            assert!(let_through >= left, "{let_through}");
            return answer;
        }
        assert_eq!(answer.status, 200);
        assert!(
            let_through < left + begun.elapsed().as_secs() + 1,
            "{let_through}"
        );
    }
    panic!("everything is let through");
}

#[tokio::test]
async fn beyond_its_rate_a_tenant_waits_and_others_do_not() {
    let mut server = with(|c| (c.limits.rate, c.limits.burst) = (1, 5)).await;
    let refused = refused(&server, "/v1/policies", 5).await;
    refused.problem(429);
    assert_eq!(refused.headers["retry-after"], "1");
    server.key = server.key_of("two", false, None).await;
    assert_eq!(server.ask("GET", "/v1/policies", "").await.status, 200);
}

#[tokio::test]
async fn the_control_plane_has_the_same_bounds_in_its_own_words() {
    let control = axum::Router::new()
        .route("/sandboxes", axum::routing::get(async || "here"))
        .route("/slow", axum::routing::get(std::future::pending::<&str>));
    let server = with(|c| {
        (c.limits.rate, c.limits.burst) = (1, 3);
        c.limits.request = Duration::from_millis(100);
        c.control = Some(control);
    })
    .await;
    assert_eq!(server.ask("GET", "/sandboxes", "").await.text(), "here");
    let slow = server.ask("GET", "/slow", "").await;
    assert_eq!((slow.status.as_u16(), &slow.json()["code"]), (504, &504.into()));
    assert_eq!(server.ask("GET", "/v1/policies", "").await.status, 200);
    let refused = refused(&server, "/sandboxes", 0).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["code"]),
        (429, &429.into())
    );
    assert_eq!(refused.headers["content-type"], "application/json");
    assert_eq!(refused.headers["retry-after"], "1");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = with(|c| c.limits.request = Duration::from_millis(200)).await;
    let head = format!(
        "POST /v1/sandboxes HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{",
        server.key
    );
    let answer = raw(server.at, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    // Nor where the request itself may take its time.
    let server = with(|c| c.limits.idle = Duration::from_millis(200)).await;
    let id = server.sandbox().id;
    for path in ["exec", "exec/stream"] {
        let head = format!(
            "POST /v1/sandboxes/{id}/{path} HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{{",
            server.key
        );
        let answer = raw(server.at, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    }
}

#[tokio::test]
async fn http_2_without_tls_is_understood() {
    let server = start().await;
    let stream = TcpStream::connect(server.at).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    tokio::spawn(connection);
    let mut all = tokio::task::JoinSet::new();
    for n in 0..50 {
        let path = if n % 2 == 0 { "/healthz" } else { "/v1/policies" };
        let uri = format!("http://{}{path}", server.at);
        let request = http::Request::builder().uri(uri).header("x-api-key", &server.key);
        all.spawn(
            sender.send_request(
                request
                    .body(http_body_util::Empty::<bytes::Bytes>::new())
                    .unwrap(),
            ),
        );
    }
    while let Some(answer) = all.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn beyond_the_places_a_request_is_turned_away_and_a_stream_gives_its_place_back() {
    let server = with(|c| c.limits.requests = 2).await;
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\n\r\n",
        server.key
    );
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 15];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        streams.push(stream);
    }
    let refused = server.ask("GET", "/v1/policies", "").await;
    refused.problem(429);
    assert!(refused.headers.contains_key("retry-after"));
    drop(streams);
    let free = async || server.ask("GET", "/v1/policies", "").await.status == 200;
    until("a client that vanished keeps its place", free).await;
}

/// A stream of events with this key that has begun.
async fn stream(server: &Running, key: &str) -> TcpStream {
    let request = format!("GET /v1/events HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n\r\n");
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test]
async fn one_tenant_leaves_places_for_others() {
    let control = axum::Router::new().route("/sandboxes", axum::routing::get(async || "here"));
    let server = with(|c| (c.limits.requests, c.control) = (4, Some(control))).await;
    let other = server.key_of("two", false, None).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(stream(&server, &server.key).await);
    }
    server.ask("GET", "/v1/policies", "").await.problem(429);
    let refused = server.ask("GET", "/sandboxes", "").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["code"]),
        (429, &429.into())
    );
    let as_other = async |path: &str| {
        let key = [("x-api-key", other.as_str())];
        ask(server.at, "GET", path, &key, b"").await.status
    };
    assert_eq!(as_other("/v1/policies").await, 200);
    assert_eq!(as_other("/sandboxes").await, 200);
    streams.pop();
    let free = async || server.ask("GET", "/v1/policies", "").await.status == 200;
    until("its place is free", free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_all_answered() {
    // Three quarters of them are one tenant's.
    let server = Arc::new(with(|c| c.limits.requests = 68).await);
    *server.node.create_takes.lock().unwrap() = Duration::from_millis(50);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let server = Arc::clone(&server);
        all.spawn(async move { server.ask("POST", "/v1/sandboxes", "{}").await });
    }
    let (mut made, mut refused) = (0, 0);
    while let Some(answer) = all.join_next().await {
        let answer = answer.unwrap();
        match answer.status.as_u16() {
            201 => made += 1,
            429 => {
                assert!(answer.headers.contains_key("retry-after"));
                refused += 1;
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }
    assert_eq!(made + refused, 400);
    assert!(made >= 50, "{made}");
    assert_eq!(server.node.created.load(Ordering::SeqCst), made);
}

#[tokio::test]
async fn the_end_lets_requests_finish_and_streams_stop() {
    let server = with(|c| c.drain = Duration::from_secs(60)).await;
    server.node.hold.store(true, Ordering::SeqCst);
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\n\r\n",
        server.key
    );
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 15]).await.unwrap();
    let (at, key) = (server.at, server.key.clone());
    let slow = tokio::spawn(async move {
        let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
        ask(at, "POST", "/v1/sandboxes", &headers, b"{}").await
    });
    until("it has begun", async || server.node.has_begun(1)).await;
    let begun = Instant::now();
    server.end.send(()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "a whole answer: {rest}");
    server.node.hold.store(false, Ordering::SeqCst);
    assert_eq!(server.served.await.unwrap().cut_off, 0);
    assert!(begun.elapsed() < Duration::from_secs(50));
    assert_eq!(slow.await.unwrap().status, 201);
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off() {
    let server = with(|c| c.drain = Duration::from_millis(200)).await;
    let at = format!("/v1/sandboxes/{}/exec", server.sandbox().id);
    let (address, key) = (server.at, server.key.clone());
    let slow = tokio::spawn(async move {
        let body = r#"{"argv": ["sleep"]}"#;
        let head = format!(
            "POST {at} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(address, head.as_bytes()).await
    });
    until("it has begun", async || server.node.has_begun(1)).await;
    server.end.send(()).unwrap();
    assert_eq!(server.served.await.unwrap().cut_off, 1);
    assert_eq!(slow.await.unwrap(), "");
}

#[tokio::test]
async fn other_addresses_need_tls_or_to_be_asked_for() {
    let server = start().await;
    let mut config = Config::new(server.node.clone(), server.store.clone());
    config.listen = vec!["0.0.0.0:0".parse().unwrap()];
    let refused = qila_server::serve(config.clone(), async {}, |_| {}).await;
    assert!(matches!(refused, Err(ServeError::Clear(_))), "{refused:?}");
    config.insecure = true;
    assert!(qila_server::serve(config.clone(), async {}, |_| {}).await.is_ok());
    config.domain = Some("no domain".into());
    assert!(matches!(
        qila_server::serve(config.clone(), async {}, |_| {}).await,
        Err(ServeError::Domain(_))
    ));
    config.listen = vec![];
    config.domain = None;
    assert!(matches!(
        qila_server::serve(config, async {}, |_| {}).await,
        Err(ServeError::Nowhere)
    ));
}

#[tokio::test]
async fn tls_speaks_both_versions_of_http() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let missing = directory.path().join("none");
    let server = with(|c| c.tls = Some((cert.clone(), key))).await;
    let mut config = Config::new(server.node.clone(), server.store.clone());
    config.tls = Some((cert, missing));
    assert!(matches!(
        qila_server::serve(config, async {}, |_| {}).await,
        Err(ServeError::Pem { .. })
    ));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    for alpn in ["h2", "http/1.1"] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        client.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(server.at).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let stream = connector
            .connect("localhost".try_into().unwrap(), stream)
            .await
            .unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let request = http::Request::builder()
            .uri("https://localhost/healthz")
            .header("host", "localhost");
        let request = request
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let status = if alpn == "h2" {
            let executor = hyper_util::rt::TokioExecutor::new();
            let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap().status()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap().status()
        };
        assert_eq!(status, 200, "{alpn}");
    }
}

#[tokio::test]
async fn every_request_is_one_line_of_the_log_without_secrets() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    let server = with(move |c| {
        c.log = Some(Arc::new(move |line| into.lock().unwrap().push(line.clone())));
    })
    .await;
    server
        .ask("GET", "/v1/sandboxes/none?x=secret-in-the-query", "")
        .await
        .problem(404);
    ask(
        server.at,
        "GET",
        "/",
        &[("e2b-sandbox-id", "none"), ("e2b-sandbox-port", "80")],
        b"",
    )
    .await;
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["route"], "/v1/sandboxes/{sandbox}");
    assert_eq!(
        (&lines[0]["tenant"], &lines[0]["status"]),
        (&"one".into(), &404.into())
    );
    assert_eq!(
        (&lines[1]["sandbox"], &lines[1]["port"]),
        (&"none".into(), &80.into())
    );
    let text = format!("{lines:?}");
    assert!(!text.contains("secret-in-the-query") && !text.contains(&server.key));
}
