//! What is answered: sandboxes, files, lists, errors, health.
use crate::client::{ask, raw, raw_until, until};
use crate::running::{start, with};
use qila_api::{ApiError, Create, Kind};
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn a_sandbox_from_its_making_to_its_end() {
    let server = start().await;
    let wish = r#"{"timeout_ms": 60000, "metadata": {"a": "b"}, "secure": true}"#;
    let made = server.ask("POST", "/v1/sandboxes", wish).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let sandbox = made.json();
    assert_eq!(sandbox["template"], "base");
    assert_eq!(sandbox["metadata"]["a"], "b");
    assert_eq!(sandbox["access_token"], "its-own");
    let at = format!("/v1/sandboxes/{}", sandbox["id"].as_str().unwrap());
    assert_eq!(
        server.ask("POST", &format!("{at}/pause"), "").await.json()["state"],
        "paused"
    );
    assert_eq!(
        server.ask("POST", &format!("{at}/resume"), "{}").await.json()["state"],
        "running"
    );
    let snapshot = server
        .ask("POST", &format!("{at}/snapshots"), r#"{"name": "n"}"#)
        .await;
    assert_eq!(snapshot.status, 201);
    let id = snapshot.json()["id"].as_str().unwrap().to_owned();
    let back = format!(r#"{{"snapshot": "{id}"}}"#);
    assert_eq!(
        server.ask("POST", &format!("{at}/rollback"), &back).await.status,
        200
    );
    server
        .ask("POST", &format!("{at}/rollback"), r#"{"snapshot": "other"}"#)
        .await
        .problem(404);
    let fork = server.ask("POST", &format!("{at}/fork"), "{}").await;
    assert_eq!(fork.status, 201);
    assert_ne!(fork.json()["id"], sandbox["id"]);
    assert_eq!(
        server.ask("GET", "/v1/snapshots", "").await.json()["items"][0]["id"],
        id
    );
    assert_eq!(
        server
            .ask("DELETE", &format!("/v1/snapshots/{id}"), "")
            .await
            .status,
        204
    );
    assert_eq!(server.ask("DELETE", &at, "").await.status, 204);
    server.ask("DELETE", &at, "").await.problem(404);
    server.ask("GET", &at, "").await.problem(404);
    server.ask("GET", "/v1/sandboxes/No%20Id", "").await.problem(404);
}

#[tokio::test]
async fn a_list_goes_on_where_it_stopped_and_is_narrowed() {
    let server = start().await;
    let me = crate::running::tenant("one");
    for n in 0..25 {
        let mut wish = Create::from_template("base");
        wish.metadata.insert("n&x".into(), (n % 2).to_string());
        server.node.make(&me, wish);
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = server
            .ask("GET", &format!("/v1/sandboxes?limit=10{after}"), "")
            .await
            .json();
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|s| s["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 25);
    assert!(
        seen.is_sorted_by(|a, b| a > b),
        "newest first, each once: {seen:?}"
    );
    let odd = server
        .ask("GET", "/v1/sandboxes?metadata=n%2526x%3D1&state=running", "")
        .await
        .json();
    assert_eq!(odd["items"].as_array().unwrap().len(), 12);
    let paused = server.ask("GET", "/v1/sandboxes?state=paused", "").await.json();
    assert_eq!(paused["items"].as_array().unwrap().len(), 0);
    for bad in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "state=dead",
        "unknown=1",
        "after=",
    ] {
        server
            .ask("GET", &format!("/v1/sandboxes?{bad}"), "")
            .await
            .problem(400);
    }
}

#[tokio::test]
async fn files_travel_as_they_are() {
    let server = start().await;
    let at = format!("/v1/sandboxes/{}/files", server.sandbox().id);
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let key = [("x-api-key", server.key.as_str())];
    let put = ask(
        server.at,
        "PUT",
        &format!("{at}?path=a%2Fb&mode=755"),
        &key,
        &bytes,
    )
    .await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(put.json()["size"], 3_000_000);
    let got = server.ask("GET", &format!("{at}?path=a%2Fb"), "").await;
    assert!(got.bytes == bytes);
    assert_eq!(got.headers["qila-file-size"], "3000000");
    assert_eq!(got.headers["x-content-type-options"], "nosniff");
    let tail = server
        .ask("GET", &format!("{at}?path=a%2Fb&offset=2999990"), "")
        .await;
    assert_eq!(tail.bytes, bytes[2_999_990..]);
    let moved = server
        .ask("POST", &format!("{at}/rename"), r#"{"from": "a/b", "to": "c"}"#)
        .await;
    assert_eq!(moved.json()["path"], "c");
    assert_eq!(
        server.ask("GET", &format!("{at}/list"), "").await.json()[0]["path"],
        "c"
    );
    assert_eq!(
        server.ask("GET", &format!("{at}/stat?path=c"), "").await.json()["kind"],
        "file"
    );
    assert_eq!(
        server.ask("DELETE", &format!("{at}?path=c"), "").await.status,
        204
    );
    server.ask("GET", &format!("{at}?path=c"), "").await.problem(404);
    server.ask("GET", &at, "").await.problem(400);
    server
        .ask("PUT", &format!("{at}?path=x&mode=4755"), "")
        .await
        .problem(400);
    let watched = server.ask("GET", &format!("{at}/watch?path=."), "").await;
    assert!(
        watched.text().contains(r#"data: {"name":"a","change":"create"}"#),
        "{}",
        watched.text()
    );
}

#[tokio::test]
async fn a_file_that_breaks_off_is_not_written() {
    let server = start().await;
    let head = format!(
        "PUT /v1/sandboxes/{}/files?path=half HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ncontent-length: 1000\r\n\r\nhalf",
        server.sandbox().id,
        server.key,
    );
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::TcpStream::connect(server.at).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    drop(stream);
    let broke_off = async || server.node.broke_off.load(Ordering::SeqCst) == 1;
    until("the writing ends", broke_off).await;
    assert!(server.node.files.lock().unwrap().is_empty());
}

#[tokio::test]
async fn each_kind_of_failure_has_its_status() {
    let server = start().await;
    let retry_after = Duration::from_millis(2500);
    let kinds = [
        (Kind::NotFound, 404),
        (Kind::Invalid, 400),
        (Kind::Conflict, 409),
        (Kind::Refused, 422),
        (Kind::Quota, 429),
        (Kind::Busy { retry_after }, 429),
        (Kind::NoSpace, 507),
        (Kind::Timeout, 504),
        (Kind::Gone, 410),
        (Kind::Unsupported, 501),
        (Kind::Internal, 500),
    ];
    for (kind, status) in kinds {
        let error = ApiError::new(kind.clone(), "why")
            .clause("network.allow")
            .hint("do this");
        *server.node.fails.lock().unwrap() = Some(error);
        let answer = server.ask("POST", "/v1/sandboxes", "{}").await;
        let problem = answer.problem(status);
        assert_eq!(problem["detail"], "why");
        assert_eq!(problem["clause"], "network.allow");
        assert_eq!(problem["hint"], "do this");
        if let Kind::Busy { .. } = kind {
            assert_eq!(answer.headers["retry-after"], "3");
        }
        assert!(answer.headers.contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let server = start().await;
    let post = async |body: &str, kind: &str| {
        let headers = [("x-api-key", server.key.as_str()), ("content-type", kind)];
        ask(server.at, "POST", "/v1/sandboxes", &headers, body.as_bytes()).await
    };
    for bad in [
        "",
        "{",
        "[]",
        "null",
        r#"{"unknown": 1}"#,
        r#"{"timeout_ms": -1}"#,
        r#"{"timeout_ms": "1"}"#,
        r#"{"metadata": {"a": 1}}"#,
        r#"{"network": {"alow": []}}"#,
        r#"{"timeout_ms": 99999999999999}"#,
        "{}{}",
        "\u{feff}{}",
    ] {
        post(bad, "application/json").await.problem(400);
    }
    assert_eq!(post("{}", "application/json; charset=utf-8").await.status, 201);
    for kind in ["text/plain", "application/jsonx", "multipart/form-data"] {
        post("{}", kind).await.problem(415);
    }
    let large = format!(r#"{{"template": "{}"}}"#, "x".repeat(1 << 20));
    post(&large, "application/json").await.problem(413);
    server.ask("PATCH", "/v1/sandboxes", "").await.problem(405);
    server.ask("GET", "/v1/nothing", "").await.problem(404);
    server.ask("GET", "/nothing", "").await.problem(404);
    let deep = "[".repeat(100_000);
    post(&deep, "application/json").await.problem(400);
    assert_eq!(server.node.created.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = with(|c| c.limits.head = Duration::from_millis(300)).await;
    let huge = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(200_000));
    assert!(raw(server.at, huge.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(5_000));
    assert!(raw(server.at, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
    assert!(
        raw(server.at, b"no http at all\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400")
    );
    // Neither a client that says nothing nor one that says half is waited for.
    for slow in [b"".as_slice(), b"PRI * HT", b"GET /healthz HTTP/1.1\r\nhost:"] {
        let begun = std::time::Instant::now();
        let answer = raw_until(server.at, slow, |_| false).await;
        // Without the limit of this test it would be 15 s.
        assert!(begun.elapsed() < Duration::from_secs(10), "{slow:?}");
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert_eq!(server.ask("GET", "/healthz", "").await.status, 200);
}

#[tokio::test]
async fn health_and_metrics() {
    let server = start().await;
    server.sandbox();
    let health = ask(server.at, "GET", "/healthz", &[], b"").await;
    assert_eq!(
        health.json(),
        serde_json::json!({"ok": true, "store": true, "node": true, "draining": false})
    );
    let own = ask(server.at, "GET", "/healthz", &[("x-request-id", "mine-1")], b"").await;
    assert_eq!(own.headers["x-request-id"], "mine-1");
    let forged = ask(server.at, "GET", "/healthz", &[("x-request-id", "a b")], b"").await;
    assert_ne!(forged.headers["x-request-id"], "a b");
    server.ask("GET", "/v1/sandboxes/none", "").await.problem(404);
    let text = ask(server.at, "GET", "/metrics", &[], b"").await.text();
    for line in [
        r#"qila_http_requests_total{method="GET",route="/v1/sandboxes/{sandbox}",status="404"} 1"#,
        r#"qila_http_requests_total{method="GET",route="/healthz",status="200"} 3"#,
        r#"qila_sandboxes{state="running"} 1"#,
        "qila_store_queue 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is in\n{text}");
    }
    let relayed = [("x-forwarded-for", "1.2.3.4")];
    ask(server.at, "GET", "/metrics", &relayed, b"")
        .await
        .problem(401);
    let admin = server.key_of("one", true, None).await;
    let with_key = [relayed[0], ("x-api-key", admin.as_str())];
    assert_eq!(
        ask(server.at, "GET", "/metrics", &with_key, b"").await.status,
        200
    );
}

#[tokio::test]
async fn a_policy_is_looked_at_with_places() {
    let server = start().await;
    let body = serde_json::json!({"policy": "version: 1\nnetwork:\n  alow: []\n"}).to_string();
    let checked = server.ask("POST", "/v1/policies/check", &body).await.json();
    assert_eq!(checked["ok"], false);
    assert_eq!(
        (
            checked["problems"][0]["line"].as_u64(),
            checked["problems"][0]["column"].as_u64()
        ),
        (Some(3), Some(3))
    );
    let good = server.ask("GET", "/v1/policies/offline", "").await.json();
    let body = serde_json::json!({"policy": good["policy"]}).to_string();
    let checked = server.ask("POST", "/v1/policies/check", &body).await.json();
    assert_eq!(checked["ok"], true, "{checked}");
    assert!(!checked["means"].as_array().unwrap().is_empty());
    server.ask("GET", "/v1/policies/none", "").await.problem(404);
}

#[tokio::test]
async fn keys_and_tenants_are_made_listed_and_ended_by_admins() {
    let mut server = start().await;
    server.key = server.key_of("one", true, None).await;
    assert_eq!(
        server
            .ask("PUT", "/v1/tenants/new", r#"{"sandboxes": 3}"#)
            .await
            .status,
        200
    );
    server.ask("PUT", "/v1/tenants/Bad", "{}").await.problem(400);
    server
        .ask("PUT", "/v1/tenants/new", r#"{"weight": 0}"#)
        .await
        .problem(400);
    let tenants = server.ask("GET", "/v1/tenants", "").await.json();
    assert_eq!(tenants[0]["quota"]["sandboxes"], 3, "{tenants}");
    assert!(tenants[0]["quota"]["memory_mib"].is_null());
    let made = server
        .ask("POST", "/v1/keys", r#"{"name": "n", "tenant": "new"}"#)
        .await
        .json();
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let list = async || {
        ask(server.at, "GET", "/v1/sandboxes", &[("x-api-key", key)], b"")
            .await
            .status
            .as_u16()
    };
    assert_eq!(list().await, 200);
    let shown = server.ask("GET", "/v1/keys?tenant=new", "").await;
    assert_eq!(shown.json()[0]["id"], id);
    assert!(!shown.text().contains(key));
    assert_eq!(
        server.ask("DELETE", &format!("/v1/keys/{id}"), "").await.status,
        204
    );
    assert_eq!(list().await, 401, "at once");
    server
        .ask("POST", "/v1/keys", r#"{"name": "n", "tenant": "nobody"}"#)
        .await
        .problem(404);
    server.ask("DELETE", "/v1/tenants/one", "").await.problem(409);
    assert_eq!(server.ask("DELETE", "/v1/tenants/new", "").await.status, 204);
    server.ask("DELETE", "/v1/tenants/new", "").await.problem(404);
}
