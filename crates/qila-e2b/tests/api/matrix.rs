//! Every route of the control plane, asked without a key, with a wrong one, and with another tenant's: the answers are a committed table.
use crate::support::{Client, OTHER_KEY};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The routes as the router has them: a row that is missing here fails.
const SOURCE: &str = include_str!("../../src/control/mod.rs");

/// Method, path and body of a request that its owner could make.
fn rows() -> Vec<(&'static str, &'static str, Value)> {
    let none = || Value::Null;
    vec![
        ("GET", "/health", none()),
        ("GET", "/sandboxes", none()),
        ("POST", "/sandboxes", json!({"templateID": "SNAPSHOT"})),
        ("GET", "/v2/sandboxes", none()),
        ("POST", "/v2/sandboxes", json!({"templateID": "TEMPLATE"})),
        ("GET", "/sandboxes/metrics?sandbox_ids=SANDBOX", none()),
        ("GET", "/sandboxes/SANDBOX", none()),
        ("DELETE", "/sandboxes/SANDBOX", none()),
        ("POST", "/sandboxes/SANDBOX/timeout", json!({"timeout": 60})),
        ("POST", "/sandboxes/SANDBOX/refreshes", json!({})),
        ("POST", "/sandboxes/SANDBOX/pause", json!({})),
        ("POST", "/sandboxes/SANDBOX/resume", json!({})),
        ("POST", "/sandboxes/SANDBOX/connect", json!({"timeout": 60})),
        ("POST", "/v2/sandboxes/SANDBOX/connect", json!({})),
        ("POST", "/sandboxes/SANDBOX/fork", json!({})),
        ("PUT", "/sandboxes/SANDBOX/network", json!({})),
        ("POST", "/sandboxes/SANDBOX/snapshots", json!({})),
        ("GET", "/sandboxes/SANDBOX/metrics", none()),
        ("GET", "/sandboxes/SANDBOX/logs", none()),
        ("GET", "/v2/sandboxes/SANDBOX/logs", none()),
        ("GET", "/snapshots", none()),
        ("GET", "/templates", none()),
        ("GET", "/v2/templates", none()),
        ("POST", "/v3/templates", json!({"name": "new"})),
        (
            "POST",
            "/v2/templates/WAITING/builds/BUILD",
            json!({"fromTemplate": "base"}),
        ),
        ("GET", "/templates/WAITING/builds/BUILD/status", none()),
        ("GET", "/templates/TEMPLATE/builds/BUILD/logs", none()),
        ("GET", "/templates/TEMPLATE/files/abc", none()),
        ("GET", "/templates/aliases/TEMPLATE", none()),
        ("GET", "/templates/TEMPLATE", none()),
        ("DELETE", "/templates/TEMPLATE", none()),
        ("GET", "/teams", none()),
        ("GET", "/api-keys", none()),
        ("POST", "/api-keys", json!({})),
    ]
}

/// The routes that the router's source names, with `{…}` for what varies.
fn routed() -> BTreeSet<(String, String)> {
    let text: String = SOURCE.split_whitespace().collect::<Vec<_>>().join("");
    let mut all = BTreeSet::new();
    for route in text.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        for method in ["get", "post", "put", "delete"] {
            if rest
                .split(".route(")
                .next()
                .unwrap()
                .contains(&format!("{method}("))
            {
                all.insert((method.to_uppercase(), path.to_owned()));
            }
        }
    }
    all
}

fn pattern(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let fixed = [
        ("SANDBOX", "{id}"),
        ("BUILD", "{build}"),
        ("WAITING", "{id}"),
        ("abc", "{hash}"),
    ];
    let path = fixed
        .iter()
        .fold(path.to_owned(), |p, (from, to)| p.replace(from, to));
    if path.starts_with("/templates/aliases") {
        path.replace("TEMPLATE", "{alias}")
    } else {
        path.replace("TEMPLATE", "{id}")
    }
}

/// The committed description has the router's routes and no others.
#[test]
fn the_description_has_every_route() {
    let document: Value = serde_json::from_str(include_str!("../../../../docs/e2b.openapi.json")).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys().filter(|m| *m != "parameters");
        described.extend(methods.map(|m| (m.to_uppercase(), path.clone())));
    }
    assert_eq!(described, routed());
}

#[tokio::test]
async fn nobody_sees_what_is_anothers() {
    let known: BTreeSet<_> = rows()
        .iter()
        .map(|(m, p, _)| ((*m).to_owned(), pattern(p)))
        .collect();
    assert_eq!(known, routed(), "a route has no row, or a row no route");
    let c = Client::new();
    let sandbox = c.sandbox().await;
    let name = |answer: &Value, field: &str| answer[field].as_str().unwrap().to_owned();
    let snapshot = name(
        &c.ask("POST", &format!("/sandboxes/{sandbox}/snapshots"), None)
            .await
            .json(),
        "snapshotID",
    );
    let request = async |template: &str| {
        name(
            &c.ask("POST", "/v3/templates", Some(json!({"name": template})))
                .await
                .json(),
            "buildID",
        )
    };
    let made = request("mine").await;
    let begin = Some(json!({"fromTemplate": "base"}));
    assert_eq!(
        c.ask("POST", &format!("/v2/templates/mine/builds/{made}"), begin)
            .await
            .status,
        202
    );
    let build = request("waits").await;
    let fill = |text: &str| {
        let names = [("SANDBOX", &sandbox), ("SNAPSHOT", &snapshot), ("BUILD", &build)];
        let text = names
            .iter()
            .fold(text.to_owned(), |t, (from, to)| t.replace(from, to));
        text.replace("TEMPLATE", "mine").replace("WAITING", "waits")
    };
    let mut table = String::from("method path: no key, wrong key, another tenant's key\n");
    for (method, path, body) in rows() {
        let body = (!body.is_null()).then(|| serde_json::from_str(&fill(&body.to_string())).unwrap());
        let mut row = Vec::new();
        for key in ["", "qila_wrong", OTHER_KEY] {
            let answer = c.ask_as(key, method, &fill(path), body.clone()).await;
            // What is listed is the other's own: nothing.
            let told = answer.text();
            for secret in [&sandbox, &snapshot] {
                assert!(
                    answer.status != 200 || !told.contains(secret.as_str()),
                    "{method} {path}: {told}"
                );
            }
            row.push(answer.status.as_u16().to_string());
        }
        writeln!(table, "{method} {path}: {}", row.join(" ")).unwrap();
    }
    // Nothing came of it.
    assert_eq!(
        c.ask("GET", &format!("/sandboxes/{sandbox}"), None).await.json()["state"],
        "running"
    );
    assert_eq!(c.ask("GET", "/templates/mine", None).await.status, 200);
    insta::assert_snapshot!(table);
}

/// The routes of envd: where a sandbox has a token, nothing but whether it runs is said without it.
#[tokio::test]
async fn envd_asks_for_the_sandboxes_own_token() {
    const ENVD: &str = include_str!("../../src/envd/mod.rs");
    let c = Client::new();
    let made = c
        .ask("POST", "/v2/sandboxes", Some(json!({"templateID": "base"})))
        .await
        .json();
    let (id, token) = (
        made["sandboxID"].as_str().unwrap(),
        made["envdAccessToken"].as_str().unwrap(),
    );
    let other = c
        .ask("POST", "/v2/sandboxes", Some(json!({"templateID": "base"})))
        .await
        .json();
    let others = other["envdAccessToken"].as_str().unwrap();
    let mut seen = 0;
    for route in ENVD.split(".route(").skip(1) {
        let path = route.split('"').nth(1).unwrap();
        for method in ["get(", "post("].iter().filter(|m| route.contains(**m)) {
            let ask = async |shown: Option<&str>| {
                let mut request =
                    http::Request::builder().method(if *method == "get(" { "GET" } else { "POST" });
                request = request
                    .uri(path)
                    .header("e2b-sandbox-id", id)
                    .header("x-api-key", crate::support::KEY);
                if let Some(shown) = shown {
                    request = request.header("x-access-token", shown);
                }
                c.envd(request.body(axum::body::Body::empty()).unwrap())
                    .await
                    .status
                    .as_u16()
            };
            let expected = if path == "/health" { 204 } else { 401 };
            for shown in [None, Some(""), Some("wrong"), Some(others)] {
                assert_eq!(ask(shown).await, expected, "{method} {path} with {shown:?}");
            }
            assert_ne!(ask(Some(token)).await, 401, "{method} {path}");
            seen += 1;
        }
    }
    assert!(seen >= 22, "{seen} routes were found");
}
