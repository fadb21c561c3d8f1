//! The control plane: sandboxes and their lives.
use crate::support::{Client, KEY, OTHER_KEY, until};
use qila_api::{NetworkWish, SandboxId};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_sandbox_is_made_looked_at_and_ended() {
    let c = Client::new();
    let made = c
        .ask(
            "POST",
            "/v2/sandboxes",
            Some(json!({
                "templateID": "base", "timeout": 60, "metadata": {"user": "a b"}, "envVars": {"A": "1"},
                "autoPause": true, "autoResume": {"enabled": true}, "allow_internet_access": false,
                "network": {"allowPublicTraffic": false}, "fieldOfTomorrow": 1,
            })),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let view = made.json();
    let id = view["sandboxID"].as_str().unwrap();
    assert_eq!(view["templateID"], "base");
    assert_eq!(view["alias"], "code-interpreter-v1");
    assert_eq!(view["domain"], "localhost:3000");
    assert_eq!(view["envdVersion"], qila_e2b::ENVD_VERSION);
    assert_eq!(view["envdAccessToken"], format!("access-of-{id}"));
    assert_eq!(view["trafficAccessToken"], format!("traffic-of-{id}"));
    let wish = c
        .node
        .with(|all| all[&SandboxId::parse(id).unwrap()].wish.clone());
    assert!(wish.secure && wish.private_ports && wish.auto_resume);
    let closed = NetworkWish {
        internet: Some(false),
        ..NetworkWish::default()
    };
    assert_eq!(wish.network, closed);
    assert_eq!(wish.environment["A"], "1");

    let detail = c.ask("GET", &format!("/sandboxes/{id}"), None).await.json();
    assert_eq!(detail["state"], "running");
    assert_eq!(detail["metadata"]["user"], "a b");
    assert_eq!(detail["cpuCount"], 1);
    assert!(detail["endAt"].as_str().unwrap() > detail["startedAt"].as_str().unwrap());

    for (method, path) in [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/v2"),
        ("GET", "/metrics"),
        ("GET", "/logs"),
    ] {
        let path = if path == "/v2" {
            format!("/v2/sandboxes/{id}/connect")
        } else {
            format!("/sandboxes/{id}{path}")
        };
        let other = c.ask_as(OTHER_KEY, method, &path, None).await;
        assert_eq!(
            other.status,
            404,
            "{method} {path} of another tenant: {}",
            other.text()
        );
    }
    assert_eq!(
        c.ask("DELETE", &format!("/sandboxes/{id}"), None).await.status,
        204
    );
    assert_eq!(
        c.ask("DELETE", &format!("/sandboxes/{id}"), None).await.status,
        404
    );
    assert_eq!(
        c.ask("GET", &format!("/sandboxes/{id}"), None).await.json()["code"],
        404
    );
}

#[tokio::test]
async fn nobody_is_let_in_without_a_key() {
    let c = Client::new();
    assert_eq!(c.ask_as("", "GET", "/health", None).await.status, 204);
    for key in ["", "wrong", "qila_", "e2b_00"] {
        let answer = c.ask_as(key, "GET", "/v2/sandboxes", None).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["code"]),
            (401, &json!(401)),
            "{key}"
        );
    }
    // The node failed: that is no way in.
    assert_eq!(c.ask_as("broken", "GET", "/v2/sandboxes", None).await.status, 500);
    let theirs = KEY.replace("qila_", "e2b_");
    assert_eq!(c.ask_as(&theirs, "GET", "/v2/sandboxes", None).await.status, 200);
    let bearer = http::Request::get("/teams").header("authorization", format!("Bearer {KEY}"));
    let teams = c.plane(bearer.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(teams.json()[0]["teamID"], "one");
    // Two keys that differ are none: whose request it is would be told and counted in two ways.
    let bearer = format!("Bearer {KEY}");
    let with = async |headers: &[(&str, &str)]| {
        let mut request = http::Request::get("/teams");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        c.plane(request).await.status.as_u16()
    };
    assert_eq!(with(&[("authorization", &bearer), ("x-api-key", KEY)]).await, 200);
    assert_eq!(
        with(&[("authorization", "Basic YTpi"), ("x-api-key", KEY)]).await,
        200
    );
    for two in [
        [("authorization", bearer.as_str()), ("x-api-key", OTHER_KEY)],
        [("authorization", "Bearer none"), ("x-api-key", KEY)],
        [("x-api-key", KEY), ("x-api-key", KEY)],
        [("authorization", &bearer), ("authorization", &bearer)],
    ] {
        assert_eq!(with(&two).await, 401, "{two:?}");
    }
}

#[tokio::test]
async fn lists_go_page_by_page_in_both_orders() {
    let c = Client::new();
    let mut ids = Vec::new();
    for n in 0..5 {
        let new =
            json!({"templateID": "base", "metadata": {"n": n.to_string(), "odd": (n % 2 == 1).to_string()}});
        ids.push(
            c.ask("POST", "/sandboxes", Some(new)).await.json()["sandboxID"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for (order, expected) in [
        ("desc", ids.iter().rev().cloned().collect::<Vec<_>>()),
        ("asc", ids.clone()),
    ] {
        let mut seen = Vec::new();
        let mut token = String::new();
        for page in 0.. {
            assert!(page < 4);
            let answer = c
                .ask(
                    "GET",
                    &format!("/v2/sandboxes?limit=2&order={order}&nextToken={token}"),
                    None,
                )
                .await;
            seen.extend(
                answer
                    .json()
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|s| s["sandboxID"].as_str().unwrap().to_owned()),
            );
            match answer.headers.get("x-next-token") {
                Some(next) => token = next.to_str().unwrap().to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{order}");
    }
    let odd = c
        .ask("GET", "/v2/sandboxes?metadata=odd%3Dtrue", None)
        .await
        .json();
    assert_eq!(odd.as_array().unwrap().len(), 2);
    c.ask("POST", &format!("/sandboxes/{}/pause", ids[0]), None).await;
    let paused = c.ask("GET", "/v2/sandboxes?state=paused", None).await.json();
    assert_eq!(paused[0]["sandboxID"], ids[0]);
    assert_eq!(
        c.ask("GET", "/sandboxes", None)
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        4
    );
    let third = c.ask("GET", &format!("/sandboxes/{}", ids[2]), None).await.json()["startedAt"].clone();
    let since = c
        .ask(
            "GET",
            &format!("/v2/sandboxes?startedAfter={}", third.as_str().unwrap()),
            None,
        )
        .await
        .json();
    assert_eq!(since.as_array().unwrap().len(), 2);
    for wrong in [
        "limit=0",
        "limit=101",
        "state=gone",
        "order=up",
        "startedAfter=x",
        "order=asc&nextToken=x",
    ] {
        assert_eq!(
            c.ask("GET", &format!("/v2/sandboxes?{wrong}"), None).await.status,
            400,
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn pauses_and_times_are_kept() {
    let c = Client::new();
    let id = c.sandbox().await;
    let at = |what: &str| format!("/sandboxes/{id}/{what}");
    assert_eq!(
        c.ask("POST", &at("resume"), Some(json!({"timeout": 60})))
            .await
            .status,
        409
    );
    assert_eq!(c.ask("POST", &at("pause"), Some(json!({}))).await.status, 204);
    assert_eq!(c.ask("POST", &at("pause"), None).await.status, 409);
    assert_eq!(c.ask("GET", &at("metrics"), None).await.json(), json!([]));
    let connected = c
        .ask(
            "POST",
            &format!("/v2/sandboxes/{id}/connect"),
            Some(json!({"timeout": 60})),
        )
        .await;
    assert_eq!(
        (connected.status.as_u16(), &connected.json()["sandboxID"]),
        (201, &json!(id))
    );
    assert_eq!(
        c.ask("POST", &at("connect"), Some(json!({"timeout": 60})))
            .await
            .status,
        200
    );
    let end = async || {
        c.ask("GET", &format!("/sandboxes/{id}"), None).await.json()["endAt"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let before = end().await;
    assert_eq!(
        c.ask("POST", &at("timeout"), Some(json!({"timeout": 3600})))
            .await
            .status,
        204
    );
    let longer = end().await;
    assert!(longer > before);
    assert_eq!(
        c.ask("POST", &at("refreshes"), Some(json!({"duration": 10})))
            .await
            .status,
        204
    );
    assert_eq!(end().await, longer);
    let metrics = c.ask("GET", &at("metrics"), None).await.json();
    assert_eq!(metrics[0]["memTotal"], 512 << 20);
    let many = c
        .ask(
            "GET",
            &format!("/sandboxes/metrics?sandbox_ids={id},unknown"),
            None,
        )
        .await
        .json();
    assert_eq!(many["sandboxes"].as_object().unwrap().len(), 1);
    let logs = c
        .ask("GET", &format!("/v2/sandboxes/{id}/logs?level=warn"), None)
        .await
        .json();
    assert_eq!(logs["logs"].as_array().unwrap().len(), 1);
    assert_eq!(
        c.ask("GET", &at("logs"), None).await.json()["logEntries"][0]["message"],
        "created"
    );
    // A time of zero is over at once.
    assert_eq!(
        c.ask("POST", &at("timeout"), Some(json!({"timeout": 0})))
            .await
            .status,
        204
    );
    let gone = async || c.ask("GET", &format!("/sandboxes/{id}"), None).await.status == 404;
    until("its end", gone).await;
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_with_a_reason() {
    let c = Client::new();
    for (more, word) in [
        (json!({"mcp": {"browserbase": {}}}), "mcp"),
        (json!({"iam": {"tokens": {"a": {}}}}), "iam"),
        (
            json!({"volumeMounts": [{"name": "a", "path": "/a"}]}),
            "volumeMounts",
        ),
        (
            json!({"autoPause": true, "autoPauseMemory": false}),
            "autoPauseMemory",
        ),
        (json!({"autoResume": {"enabled": true}}), "autoPause"),
        (
            json!({"network": {"egressProxy": {"address": "a:1"}}}),
            "egressProxy",
        ),
        (json!({"timeout": 0}), "timeout"),
        (json!({"timeout": "soon"}), "timeout"),
        (json!({"metadata": {"a": 1}}), "metadata"),
    ] {
        let mut new = json!({"templateID": "base"});
        new.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = c.ask("POST", "/v2/sandboxes", Some(new.clone())).await;
        assert_eq!(answer.status, 400, "{new}");
        if word != "metadata" {
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(
                message.contains(word) || message.contains("invalid type"),
                "{message}"
            );
        }
    }
    let refused = json!({"templateID": "base", "network": {"denyOut": ["refused.example"]}});
    let answer = c.ask("POST", "/sandboxes", Some(refused)).await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        answer.json()["message"],
        "no tier here can do that (network.deny); allow it"
    );
    assert_eq!(
        c.ask("POST", "/sandboxes", Some(json!({"templateID": "none"})))
            .await
            .status,
        404
    );
    assert_eq!(c.ask("POST", "/sandboxes", Some(json!({}))).await.status, 400);
    let id = c.sandbox().await;
    assert_eq!(
        c.ask("PUT", &format!("/sandboxes/{id}/network"), Some(json!({})))
            .await
            .status,
        400
    );
    assert_eq!(
        c.ask(
            "POST",
            &format!("/sandboxes/{id}/pause"),
            Some(json!({"memory": false}))
        )
        .await
        .status,
        400
    );
    assert_eq!(c.ask("GET", "/none", None).await.json()["code"], 404);
    assert_eq!(c.ask("PATCH", "/sandboxes", None).await.json()["code"], 405);
}

#[tokio::test]
async fn a_repeated_request_makes_one_sandbox() {
    let c = std::sync::Arc::new(Client::new());
    let ask = |tenant: &str, key: &str, body: &'static str| {
        http::Request::post("/v2/sandboxes")
            .header("x-api-key", tenant)
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(axum::body::Body::from(body))
            .unwrap()
    };
    const BODY: &str = r#"{"templateID":"base"}"#;
    let all = (0..32).map(|_| {
        let (c, request) = (c.clone(), ask(KEY, "once", BODY));
        tokio::spawn(async move {
            c.plane(request).await.json()["sandboxID"]
                .as_str()
                .unwrap()
                .to_owned()
        })
    });
    let mut ids = std::collections::BTreeSet::new();
    for one in all.collect::<Vec<_>>() {
        ids.insert(one.await.unwrap());
    }
    assert_eq!(ids.len(), 1);
    let id = ids.first().unwrap();
    // Another request under that key is none of it; another key and another tenant's are their own.
    let other = c
        .plane(ask(KEY, "once", r#"{"templateID":"base","timeout":7}"#))
        .await;
    assert_eq!(other.status, 409);
    for (tenant, key) in [(KEY, "twice"), (OTHER_KEY, "once")] {
        assert_ne!(c.plane(ask(tenant, key, BODY)).await.json()["sandboxID"], **id);
    }
    for wrong in ["", &"x".repeat(256)] {
        assert_eq!(c.plane(ask(KEY, wrong, BODY)).await.status, 400);
    }
    // What it made has ended: another is not what was asked for.
    c.ask("DELETE", &format!("/sandboxes/{id}"), None).await;
    assert_eq!(c.plane(ask(KEY, "once", BODY)).await.status, 409);
    // One that failed may be tried again.
    let none = r#"{"templateID":"none"}"#;
    assert_eq!(c.plane(ask(KEY, "later", none)).await.status, 404);
    assert_eq!(c.plane(ask(KEY, "later", BODY)).await.status, 201);
}
