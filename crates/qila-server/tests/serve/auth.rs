//! Every route of the document × no key, a wrong one, one that ended, another tenant's, and the owner's.
use crate::client::ask;
use crate::running::start;
use serde_json::Value;
use std::fmt::Write;

/// A body with which the owner's request makes sense. A route that needs one and has none here fails the test.
fn body(route: &str) -> &'static str {
    match route {
        "post /v1/sandboxes"
        | "post /v1/sandboxes/{sandbox}/fork"
        | "post /v1/sandboxes/{sandbox}/resume" => "{}",
        "post /v1/sandboxes/{sandbox}/timeout" => r#"{"timeout_ms": 1000}"#,
        "post /v1/sandboxes/{sandbox}/rollback" => r#"{"snapshot": "SNAPSHOT"}"#,
        "post /v1/sandboxes/{sandbox}/snapshots" => r#"{"name": "x"}"#,
        "post /v1/sandboxes/{sandbox}/exec" | "post /v1/sandboxes/{sandbox}/exec/stream" => {
            r#"{"argv": ["echo", "a"]}"#
        }
        "post /v1/sandboxes/{sandbox}/processes/{process}/signal" => r#"{"signal": "TERM"}"#,
        "post /v1/sandboxes/{sandbox}/processes/{process}/input" => r#"{"data": "x"}"#,
        "post /v1/sandboxes/{sandbox}/processes/{process}/resize" => r#"{"rows": 1, "cols": 1}"#,
        "post /v1/sandboxes/{sandbox}/files/mkdir" => r#"{"path": "d"}"#,
        "post /v1/sandboxes/{sandbox}/files/rename" => r#"{"from": "f", "to": "f"}"#,
        "put /v1/templates/{template}" => r#"{"source": {"snapshot": "SNAPSHOT"}, "policy": "offline"}"#,
        "post /v1/policies/check" => r#"{"policy": "version: 1"}"#,
        "post /v1/keys" => r#"{"name": "x"}"#,
        "put /v1/tenants/{tenant}" => "{}",
        other => panic!("{other} needs a body here"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_what() {
    let document: Value = serde_json::from_str(qila_server::document()).unwrap();
    let mut table = String::from("route | none | wrong | ended | other tenant | owner | admin\n");
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let route = format!("{method} {path}");
            let mut row = route.clone();
            for who in ["none", "wrong", "ended", "other", "owner", "admin"] {
                write!(row, " | {}", status(&route, operation, who).await).unwrap();
            }
            writeln!(table, "{row}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

/// On a server of its own: what one request changes is not there for the next.
async fn status(route: &str, operation: &Value, who: &str) -> String {
    let server = start().await;
    let sandbox = server.sandbox();
    let owner = crate::running::tenant("one");
    let snapshot = qila_api::Node::snapshot(&*server.node, &owner, &sandbox.id, None)
        .await
        .unwrap();
    server.node.files.lock().unwrap().insert("f".into(), vec![1]);
    let argv = vec!["sleep".to_owned()];
    let exec = qila_api::Exec {
        argv,
        ..Default::default()
    };
    let process = qila_api::Node::exec(&*server.node, &owner, &sandbox.id, exec)
        .await
        .unwrap();
    let template = serde_json::json!({
        "id": "t", "names": [], "public": false, "source": "host", "files": null, "policy": "offline", "start": null,
        "ready": null, "pool": 0, "timeout_s": 1, "state": {"state": "ready"}, "made_ms": 1,
    });
    server
        .node
        .templates
        .lock()
        .unwrap()
        .push((owner, serde_json::from_value(template).unwrap()));
    let (method, path) = route.split_once(' ').unwrap();
    let mut path = path
        .replace("{sandbox}", sandbox.id.as_str())
        .replace("{snapshot}", snapshot.id.as_str())
        .replace("{process}", &process.pid.0.to_string())
        .replace("{template}", "t")
        .replace("{port}", "80")
        .replace("{policy}", "offline")
        .replace("{key}", "none")
        .replace("{tenant}", "three");
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    if parameters
        .iter()
        .any(|p| p["in"] == "query" && p["name"] == "path")
    {
        path += "?path=f";
    }
    let key = match who {
        "none" => None,
        "wrong" => Some(format!("qila_{}", "0".repeat(64))),
        "ended" => Some(server.key_of("one", true, Some(1)).await),
        "other" => Some(server.key_of("two", false, None).await),
        "owner" => Some(server.key.clone()),
        "admin" => Some(server.key_of("one", true, None).await),
        _ => unreachable!(),
    };
    let bearer = key.map(|key| format!("Bearer {key}"));
    let mut headers: Vec<_> = bearer.iter().map(|b| ("authorization", b.as_str())).collect();
    let is_json = operation["requestBody"]["content"]
        .get("application/json")
        .is_some();
    let body = match is_json {
        true => body(route).replace("SNAPSHOT", snapshot.id.as_str()),
        false => String::new(),
    };
    if is_json {
        headers.push(("content-type", "application/json"));
    }
    // Streams of events have no end: their head is enough.
    let asked = ask_head(
        server.at,
        &method.to_uppercase(),
        &path,
        &headers,
        body.as_bytes(),
    )
    .await;
    let shown = asked.as_u16();
    let _ = server.end.send(());
    shown.to_string()
}

async fn ask_head(
    at: std::net::SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> http::StatusCode {
    use hyper_util::rt::TokioIo;
    let stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = http_body_util::Full::new(bytes::Bytes::copy_from_slice(body));
    sender
        .send_request(request.body(body).unwrap())
        .await
        .unwrap()
        .status()
}

#[tokio::test]
async fn keys_are_shown_in_two_ways_and_not_in_two_at_once() {
    let server = start().await;
    let other = server.key_of("two", false, None).await;
    let get = async |headers: &[(&str, &str)]| {
        ask(server.at, "GET", "/v1/sandboxes", headers, b"")
            .await
            .status
            .as_u16()
    };
    let bearer = format!("Bearer {}", server.key);
    assert_eq!(get(&[("authorization", &bearer)]).await, 200);
    assert_eq!(get(&[("x-api-key", &server.key)]).await, 200);
    assert_eq!(
        get(&[("authorization", &bearer), ("x-api-key", &server.key)]).await,
        200
    );
    assert_eq!(
        get(&[("authorization", &bearer), ("x-api-key", &other)]).await,
        401
    );
    assert_eq!(
        get(&[("x-api-key", &server.key), ("x-api-key", &server.key)]).await,
        401
    );
    assert_eq!(get(&[("authorization", &server.key)]).await, 401);
    let upper = server.key.to_uppercase();
    assert_eq!(get(&[("x-api-key", &upper)]).await, 401);
}

#[tokio::test]
async fn a_template_with_files_or_credentials_of_the_host_needs_an_admin() {
    let server = start().await;
    let bodies = [
        r#"{"source": "host", "policy": "offline"}"#,
        r#"{"source": {"directory": "/etc"}, "policy": "offline"}"#,
        r#"{"source": {"layout": "/etc"}, "policy": "offline"}"#,
        r#"{"source": {"image": "docker.io/library/python"}, "policy": "version: 1\nnetwork:\n  allow: [127.0.0.1]\n"}"#,
        r#"{"source": {"snapshot": "n"}, "files": "/etc", "policy": "offline"}"#,
        r#"{"source": {"snapshot": "n"}, "policy": "version: 1\nfilesystem:\n  read: [/etc]\n"}"#,
        r#"{"source": {"snapshot": "n"}, "policy": "coding-agent"}"#,
        r#"{"source": {"snapshot": "n"}, "policy": "offline", "public": true}"#,
    ];
    for body in bodies {
        server.ask("PUT", "/v1/templates/mine", body).await.problem(403);
    }
    for modest in [r#"{"snapshot": "n"}"#, r#"{"image": "docker.io/library/python"}"#] {
        let body = format!(r#"{{"source": {modest}, "policy": "offline"}}"#);
        assert_eq!(server.ask("PUT", "/v1/templates/mine", &body).await.status, 200);
    }
    let admin = server.key_of("one", true, None).await;
    for body in bodies {
        let headers = [
            ("x-api-key", admin.as_str()),
            ("content-type", "application/json"),
        ];
        let answer = ask(server.at, "PUT", "/v1/templates/mine", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn what_a_public_template_says_of_the_host_is_for_admins() {
    let server = start().await;
    let add = |id: &str, public: bool, source: Value, policy: &str| {
        let template = serde_json::json!({
            "id": id, "names": [], "public": public, "source": source, "files": null, "policy": policy, "start": null,
            "ready": null, "pool": 0, "timeout_s": 1, "state": {"state": "failed", "reason": "no /srv/secret"}, "made_ms": 1,
        });
        let template = serde_json::from_value(template).unwrap();
        let mut all = server.node.templates.lock().unwrap();
        all.push((crate::running::tenant("one"), template));
    };
    let at = |kind: &str| serde_json::json!({kind: "/srv/secret"});
    add("base", true, "host".into(), "version: 1\n");
    add("directory", true, at("directory"), "version: 1 # secret");
    add("layout", true, at("layout"), "offline");
    add("own", false, at("directory"), "version: 1 # secret");
    let shown = server.ask("GET", "/v1/templates", "").await.json();
    assert_eq!(shown[0]["policy"], "version: 1\n");
    assert_eq!(shown[1]["source"], serde_json::json!({"directory": ""}));
    assert_eq!(shown[1]["policy"], "");
    assert_eq!(shown[2]["source"], serde_json::json!({"layout": ""}));
    assert_eq!(shown[2]["policy"], "offline");
    for lent in 0..3 {
        assert!(!shown[lent].to_string().contains("secret"), "{shown}");
    }
    let admin = server.key_of("one", true, None).await;
    let all = ask(server.at, "GET", "/v1/templates", &[("x-api-key", &admin)], b"").await;
    for (list, n) in [(&shown, 3), (&all.json(), 1)] {
        assert_eq!(list[n]["source"], at("directory"));
        assert_eq!(list[n]["policy"], "version: 1 # secret");
        assert_eq!(list[n]["reason"], "no /srv/secret");
    }
}
