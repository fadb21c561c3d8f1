//! Ports of sandboxes, through the server.
use crate::client::{ask, until};
use crate::running::{Running, start, with};
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, Request};
use axum::routing::{any, get};
use futures_util::{SinkExt, StreamExt};
use qila_api::{Create, SandboxId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// A program that shows what it was asked.
async fn program(server: &Running, port: u16) {
    let echo = get(async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    });
    let shown = any(async |request: Request| {
        let mut text = format!("{} {}\n", request.method(), request.uri());
        let mut names: Vec<_> = request.headers().iter().collect();
        names.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in names {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let body = axum::body::to_bytes(request.into_body(), 1 << 24).await.unwrap();
        (
            [("connection", "x-hop"), ("x-hop", "1"), ("x-program", "2")],
            format!("{text}{}", body.len()),
        )
    });
    let router = Router::new().route("/ws", echo).fallback(shown);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    server
        .node
        .ports
        .lock()
        .unwrap()
        .insert(port, listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .with_upgrades(),
            );
        }
    });
}

#[tokio::test]
async fn a_port_is_reached_by_host_and_by_headers() {
    let server = with(|c| c.domain = Some("example.org".into())).await;
    program(&server, 8080).await;
    let id = server.sandbox().id.to_string();
    let hosts = [
        format!("8080-{id}.localhost:3000"),
        format!("8080-{id}.example.org"),
    ];
    for host in &hosts {
        let key = format!("Bearer {}", server.key);
        let headers = [
            ("host", host.as_str()),
            ("authorization", &key),
            ("x-forwarded-for", "6.6.6.6"),
            ("cookie", "c=d"),
        ];
        let answer = ask(server.at, "POST", "/a/b?c=d", &headers, &vec![0; 2_000_000]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        let expected = format!(
            "POST /a/b?c=d\ncontent-length: 2000000\ncookie: c=d\nhost: localhost:8080\nx-forwarded-for: 127.0.0.1\n\
             x-forwarded-host: {host}\nx-forwarded-proto: http\n2000000"
        );
        assert_eq!(text, expected);
        assert!(!answer.headers.contains_key("x-hop"));
        assert_eq!(answer.headers["x-program"], "2");
    }
    for names in [
        ["qila-sandbox", "qila-port"],
        ["e2b-sandbox-id", "e2b-sandbox-port"],
    ] {
        let headers = [(names[0], id.as_str()), (names[1], "8080")];
        let text = ask(server.at, "GET", "/v1/sandboxes", &headers, b"").await.text();
        assert!(
            text.starts_with("GET /v1/sandboxes\n") && !text.contains("sandbox-id"),
            "{text}"
        );
    }
    ask(
        server.at,
        "GET",
        "/",
        &[("qila-sandbox", &id), ("qila-port", "0")],
        b"",
    )
    .await
    .problem(400);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let server = start().await;
    let id = server.sandbox().id.to_string();
    let get = async |id: &str, port: &str| {
        ask(
            server.at,
            "GET",
            "/",
            &[("e2b-sandbox-id", id), ("e2b-sandbox-port", port)],
            b"",
        )
        .await
    };
    for nobody in ["nobody", "../etc", "A B"] {
        let answer = get(nobody, "80").await;
        assert_eq!(answer.status, 404);
        let body = answer.json();
        assert_eq!(
            (&body["sandboxId"], &body["code"]),
            (&nobody.into(), &502.into()),
            "{body}"
        );
        assert!(body["message"].is_string());
    }
    let closed = get(&id, "81").await;
    assert_eq!(
        (closed.status.as_u16(), closed.json()["port"].as_u64()),
        (502, Some(81))
    );
    // A program that hangs up, and one that does not speak HTTP.
    for says in ["", "no http\r\n\r\n"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        server
            .node
            .ports
            .lock()
            .unwrap()
            .insert(82, listener.local_addr().unwrap());
        tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(says.as_bytes()).await.unwrap();
        });
        get(&id, "82").await.problem(502);
    }
}

#[tokio::test]
async fn a_traffic_token_is_needed_and_not_shown_to_the_program() {
    let server = start().await;
    program(&server, 8080).await;
    *server.node.traffic_token.lock().unwrap() = Some("s3cret".into());
    let id = server.sandbox().id.to_string();
    let get = async |token: Option<(&str, &str)>| {
        let mut headers = vec![("qila-sandbox", id.as_str()), ("qila-port", "8080")];
        headers.extend(token);
        ask(server.at, "GET", "/", &headers, b"").await
    };
    get(None).await.problem(403);
    for wrong in ["", "s3cre", "s3cret2", "S3CRET"] {
        get(Some(("qila-traffic-token", wrong))).await.problem(403);
    }
    for name in ["qila-traffic-token", "e2b-traffic-access-token"] {
        let answer = get(Some((name, "s3cret"))).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text().contains("s3cret"));
    }
    let shown = server
        .ask("GET", &format!("/v1/sandboxes/{id}/ports/8080"), "")
        .await
        .json();
    assert_eq!(shown["headers"]["Qila-Traffic-Token"], "s3cret");
    assert_eq!(shown["url"], format!("http://8080-{id}.localhost/"));
}

#[tokio::test]
async fn a_web_socket_passes() {
    let server = start().await;
    program(&server, 8080).await;
    let id = server.sandbox().id;
    let stream = tokio::net::TcpStream::connect(server.at).await.unwrap();
    let request = format!("ws://8080-{id}.localhost/ws")
        .into_client_request()
        .unwrap();
    let (mut socket, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(answer.status(), 101);
    for n in 0..100_u32 {
        let sent = Message::binary(n.to_le_bytes().repeat(1000));
        socket.send(sent.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), sent);
    }
    socket.close(None).await.unwrap();
}

#[tokio::test]
async fn the_ports_of_the_apis_own_have_their_ways() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let envd = Router::new().fallback(async |Extension(id): Extension<SandboxId>| format!("envd of {id}"));
    let control = Router::new().route("/sandboxes", get(async || "control"));
    let server = with(move |c| {
        c.envd = Some(envd);
        c.control = Some(control);
        c.before_port = Some(Arc::new(move |_, port| {
            assert_eq!(port, 49_999);
            count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(()) })
        }));
    })
    .await;
    program(&server, 49_999).await;
    program(&server, 49_983).await;
    let id = server.sandbox().id.to_string();
    let text =
        async |headers: &[(&str, &str)], path: &str| ask(server.at, "GET", path, headers, b"").await.text();
    assert_eq!(
        text(&[("e2b-sandbox-id", &id)], "/v1/x").await,
        format!("envd of {id}")
    );
    let host = format!("49983-{id}.localhost");
    assert_eq!(
        text(&[("host", &host)], "/").await,
        format!("envd of {id}"),
        "never the program's"
    );
    assert!(
        text(
            &[("e2b-sandbox-id", &id), ("e2b-sandbox-port", "49999")],
            "/execute"
        )
        .await
        .starts_with("GET /execute")
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(text(&[], "/sandboxes").await, "control");
    server.ask("GET", "/v1/nothing", "").await.problem(404);
}

#[tokio::test]
async fn code_is_run_for_whoever_has_the_access_token() {
    let server = start().await;
    program(&server, 49_999).await;
    program(&server, 8080).await;
    let secure = Create {
        secure: true,
        ..Create::from_template("base")
    };
    let owner = crate::running::tenant("one");
    let closed = server.node.make(&owner, secure).id.to_string();
    let open = server.sandbox().id.to_string();
    let post = async |id: &str, port: &str, path: &str, token: Option<&str>| {
        let mut headers = vec![("e2b-sandbox-id", id), ("e2b-sandbox-port", port)];
        headers.extend(token.map(|t| ("x-access-token", t)));
        ask(server.at, "POST", path, &headers, b"{}").await
    };
    for path in [
        "/execute",
        "/",
        "/contexts/../execute",
        "/contexts/a/execute",
        "/contexts/",
        "/contexts//execute",
        "/contexts%2f..%2fexecute",
        "//execute",
    ] {
        for wrong in [None, Some(""), Some("its-ow"), Some("its-own2")] {
            post(&closed, "49999", path, wrong).await.problem(401);
        }
        let answer = post(&closed, "49999", path, Some("its-own")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text().contains("its-own"));
        assert_eq!(post(&open, "49999", path, None).await.status, 200, "{path}");
    }
    // E2B's SDKs show no token there, and no code is run.
    for path in ["/contexts", "/contexts/0a-B", "/contexts/0a-B/restart"] {
        assert_eq!(post(&closed, "49999", path, None).await.status, 200, "{path}");
        post(&closed, "49999", path, Some("wrong")).await.problem(401);
    }
    assert_eq!(post(&closed, "8080", "/execute", None).await.status, 200);
    let shown = server
        .ask("GET", &format!("/v1/sandboxes/{closed}/ports/49999"), "")
        .await
        .json();
    assert_eq!(shown["headers"]["X-Access-Token"], "its-own");
}

#[tokio::test]
async fn the_ports_of_one_tenant_leave_places_for_others() {
    let envd = Router::new().fallback(async || "envd");
    let server = with(|c| (c.limits.ports, c.envd) = (4, Some(envd))).await;
    program(&server, 8080).await;
    let mine = server.sandbox().id;
    let another = crate::running::tenant("two");
    let theirs = server
        .node
        .make(&another, Create::from_template("base"))
        .id
        .to_string();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let stream = tokio::net::TcpStream::connect(server.at).await.unwrap();
        let request = format!("ws://8080-{mine}.localhost/ws")
            .into_client_request()
            .unwrap();
        sockets.push(tokio_tungstenite::client_async(request, stream).await.unwrap().0);
    }
    let get = async |id: &str, port: &str| {
        let headers = [("qila-sandbox", id), ("qila-port", port)];
        ask(server.at, "GET", "/", &headers, b"").await
    };
    for port in ["8080", "49983"] {
        get(mine.as_str(), port).await.problem(429);
        assert_eq!(get(&theirs, port).await.status, 200);
    }
    sockets.pop();
    let free = async || get(mine.as_str(), "8080").await.status == 200;
    until("its place is free", free).await;
}
