//! The native API, every route of its description, asked for another tenant's things: the answers are a committed table. Those of
//! E2B's API are in `crates/qila-e2b/tests/api/matrix.rs`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use bytes::Bytes;
use qila_agents::host::Mode;
use qila_serve_tests::{Client, Daemon};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// As they are committed; that they are those of the code is a test of the server's own.
const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

/// What a tenant has.
struct Things {
    sandbox: String,
    snapshot: String,
    template: String,
    key: String,
    pid: String,
}

impl Things {
    /// Makes one of each.
    async fn make(client: &mut Client, tenant: &str) -> Things {
        let sandbox = client.create(&json!({"metadata": {"of": tenant}})).await;
        let at = format!("/v1/sandboxes/{sandbox}");
        let body = json!({"shell": "sleep 600 & echo $$; wait", "tag": "mine"});
        let stream = client
            .another()
            .open("POST", &format!("{at}/exec/stream"), &[], &body)
            .await
            .unwrap();
        assert_eq!(stream.status(), 200);
        let all = client
            .ask("GET", &format!("{at}/processes"), &Value::Null)
            .await
            .unwrap()
            .must(200)
            .json();
        let pid = all[0]["pid"].to_string();
        let put = format!("{at}/files?path=mine");
        client
            .raw(
                "PUT",
                &put,
                &[("content-type", "application/octet-stream")],
                Bytes::from("mine"),
            )
            .await
            .unwrap()
            .must(200);
        let kept = client
            .ask("POST", &format!("{at}/snapshots"), &json!({}))
            .await
            .unwrap()
            .must(201)
            .json();
        let snapshot = kept["id"].as_str().unwrap().to_owned();
        let template = format!("of-{tenant}");
        let body = json!({"source": {"snapshot": snapshot}, "policy": "offline"});
        client
            .ask("PUT", &format!("/v1/templates/{template}"), &body)
            .await
            .unwrap()
            .must(200);
        Things {
            sandbox,
            snapshot,
            template,
            key: String::new(),
            pid,
        }
    }

    fn fill(&self, path: &str) -> String {
        let names = [
            ("{sandbox}", &self.sandbox),
            ("{snapshot}", &self.snapshot),
            ("{template}", &self.template),
            ("{key}", &self.key),
            ("{process}", &self.pid),
        ];
        let path = names
            .iter()
            .fold(path.to_owned(), |p, (from, to)| p.replace(from, to));
        path.replace("{tenant}", "owner")
            .replace("{port}", "8080")
            .replace("{policy}", "offline")
    }
}

/// A body that the owner could send; a route that needs one and has no row here fails.
fn body(method: &str, path: &str) -> Value {
    match (method, path.rsplit('/').next().unwrap()) {
        ("post", "sandboxes") => json!({"template": "of-owner"}),
        ("post", "timeout") => json!({"timeout_ms": 1000}),
        ("post", "resume" | "fork" | "snapshots") => json!({}),
        ("post", "rollback") => json!({"snapshot": "SNAPSHOT"}),
        ("post", "signal") => json!({"signal": "KILL"}),
        ("post", "input") => json!({"data": "x"}),
        ("post", "resize") => json!({"rows": 1, "cols": 1}),
        ("post", "mkdir") => json!({"path": "d"}),
        ("post", "rename") => json!({"from": "mine", "to": "yours"}),
        ("post", "exec" | "stream") => json!({"argv": ["rm", "mine"]}),
        ("put", "{template}") => json!({"source": {"snapshot": "SNAPSHOT"}, "policy": "offline"}),
        ("put", "{tenant}") => json!({"sandboxes": 1}),
        ("post", "check") => json!({"policy": "version: 1"}),
        ("post", "keys") => json!({"tenant": "owner", "name": "stolen"}),
        _ => Value::Null,
    }
}

/// Query parameters that a route needs.
fn query(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let needed = parameters
        .iter()
        .filter(|p| p["in"] == "query" && p["required"] == true);
    let all: Vec<_> = needed
        .map(|p| format!("{}=mine", p["name"].as_str().unwrap()))
        .collect();
    if all.is_empty() {
        String::new()
    } else {
        format!("?{}", all.join("&"))
    }
}

async fn tenant(admin: &mut Client, daemon: &Daemon, name: &str) -> (Client, String) {
    admin
        .ask("PUT", &format!("/v1/tenants/{name}"), &json!({}))
        .await
        .unwrap()
        .must(200);
    let made = admin
        .ask("POST", "/v1/keys", &json!({"tenant": name, "name": "test"}))
        .await
        .unwrap()
        .must(201)
        .json();
    let key = made["key"].as_str().unwrap();
    (
        Client::new(daemon.address, key),
        made["id"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_sees_or_changes_what_is_anothers() {
    let mode = if Mode::Root.available().is_ok() {
        Mode::Root
    } else {
        Mode::Unprivileged
    };
    let daemon = match Daemon::start(mode, &[]) {
        Ok(daemon) => daemon,
        Err(skip) => return skip.report("the matrix of tenants"),
    };
    let mut admin = daemon.client();
    let (mut owner, key) = tenant(&mut admin, &daemon, "owner").await;
    let (other, _) = tenant(&mut admin, &daemon, "other").await;
    let mut things = Things::make(&mut owner, "owner").await;
    things.key = key;
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut table = String::from("method path: no key, wrong key, another tenant's key\n");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let body = body(method, path);
            let needs = operation["requestBody"]["content"]
                .get("application/json")
                .is_some();
            assert!(
                !needs || !body.is_null(),
                "{method} {path} has no body in this test"
            );
            let body = serde_json::from_str(&body.to_string().replace("SNAPSHOT", &things.snapshot)).unwrap();
            let at = things.fill(path) + &query(operation);
            assert!(
                !at.contains('{'),
                "{at}: a parameter that this test does not know"
            );
            let mut row = Vec::new();
            let nobody = Client::new(daemon.address, "");
            let wrong = Client::new(daemon.address, "qila_0000");
            for asks in [&nobody, &wrong, &other] {
                let mut asks = asks.another().patient(Duration::from_secs(20));
                // The head only: what is a stream for those who may listen does not end.
                let mut answer = asks.open(&method.to_uppercase(), &at, &[], &body).await.unwrap();
                let status = answer.status().as_u16();
                let told = tokio::time::timeout(Duration::from_millis(300), async {
                    use http_body_util::BodyExt;
                    let mut told = Vec::new();
                    while let Some(Ok(frame)) = answer.body_mut().frame().await {
                        told.extend_from_slice(&frame.into_data().unwrap_or_default());
                    }
                    told
                });
                let told = String::from_utf8_lossy(&told.await.unwrap_or_default()).into_owned();
                for secret in [&things.sandbox, &things.snapshot, &things.key] {
                    assert!(
                        status != 200 || !told.contains(secret.as_str()),
                        "{method} {at}: {told}"
                    );
                }
                assert!(status < 500, "{method} {at}: {status} {told}");
                row.push(status.to_string());
            }
            writeln!(table, "{} {path}: {}", method.to_uppercase(), row.join(" ")).unwrap();
        }
    }
    // Nothing came of it.
    let at = format!("/v1/sandboxes/{}", things.sandbox);
    let is = owner
        .ask("GET", &at, &Value::Null)
        .await
        .unwrap()
        .must(200)
        .json();
    assert_eq!(is["state"], "running");
    let file = owner
        .ask("GET", &format!("{at}/files?path=mine"), &Value::Null)
        .await
        .unwrap()
        .must(200);
    assert_eq!(file.text(), "mine");
    let all = owner
        .ask("GET", &format!("{at}/processes"), &Value::Null)
        .await
        .unwrap()
        .must(200)
        .json();
    assert_eq!(all[0]["pid"].to_string(), things.pid);
    let kept = owner
        .ask("GET", "/v1/snapshots", &Value::Null)
        .await
        .unwrap()
        .must(200);
    assert!(kept.text().contains(&things.snapshot));
    let of = |id: &str| json!({"template": id});
    let from = owner.create(&of(&things.template)).await;
    for id in [from.as_str(), things.sandbox.as_str()] {
        owner.delete(id).await;
    }
    insta::assert_snapshot!(table);
}
