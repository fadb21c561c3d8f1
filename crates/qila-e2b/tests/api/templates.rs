//! Snapshots, forks, templates and builds.
use crate::support::{ADMIN_KEY, Client, KEY, OTHER_KEY};
use qila_api::Tenant;
use serde_json::json;

#[tokio::test]
async fn a_snapshot_is_a_template() {
    let c = Client::new();
    let id = c.sandbox().await;
    c.run(&id, "echo kept > a.txt", &[]).await;
    let taken = c
        .ask(
            "POST",
            &format!("/sandboxes/{id}/snapshots"),
            Some(json!({"name": "first"})),
        )
        .await;
    assert_eq!(
        (taken.status.as_u16(), &taken.json()["names"]),
        (201, &json!(["first"]))
    );
    let snapshot = taken.json()["snapshotID"].as_str().unwrap().to_owned();
    for name in [snapshot.as_str(), "first", "first:default"] {
        let made = c
            .ask("POST", "/v2/sandboxes", Some(json!({"templateID": name})))
            .await;
        assert_eq!(made.status, 201, "{name}: {}", made.text());
        let new = made.json()["sandboxID"].as_str().unwrap().to_owned();
        let token = made.json()["envdAccessToken"].as_str().unwrap().to_owned();
        let said = c.run(&new, "cat a.txt", &[("x-access-token", &token)]).await;
        assert_eq!(said[1]["event"]["data"]["stdout"], "a2VwdAo=", "{said:?}");
    }
    let other = c
        .ask_as(
            OTHER_KEY,
            "POST",
            "/sandboxes",
            Some(json!({"templateID": snapshot})),
        )
        .await;
    assert_eq!(other.status, 404);
    assert_eq!(
        c.ask("GET", &format!("/snapshots?sandboxID={id}&limit=1"), None)
            .await
            .json()[0]["snapshotID"],
        snapshot
    );
    assert_eq!(
        c.ask("GET", "/snapshots?name=second", None).await.json(),
        json!([])
    );
    // It is no template in lists of templates.
    assert_eq!(
        c.ask("GET", "/templates", None)
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        c.ask("DELETE", &format!("/templates/{snapshot}"), None)
            .await
            .status,
        204
    );
    assert_eq!(
        c.ask("DELETE", &format!("/templates/{snapshot}"), None)
            .await
            .status,
        404
    );
    assert_eq!(
        c.ask("POST", "/sandboxes", Some(json!({"templateID": snapshot})))
            .await
            .status,
        404
    );
    let whole = c
        .ask(
            "POST",
            &format!("/sandboxes/{id}/snapshots"),
            Some(json!({"memory": true})),
        )
        .await;
    assert_eq!(whole.status, 400);
}

#[tokio::test]
async fn forks_have_the_files() {
    let c = Client::new();
    let id = c.sandbox().await;
    c.run(&id, "echo forked > a.txt", &[]).await;
    let forks = c
        .ask(
            "POST",
            &format!("/sandboxes/{id}/fork"),
            Some(json!({"count": 3, "timeout": 60})),
        )
        .await;
    assert_eq!(forks.status, 201);
    let forks = forks.json();
    assert_eq!(forks.as_array().unwrap().len(), 3);
    let new = forks[2]["sandbox"]["sandboxID"].as_str().unwrap();
    assert_ne!(new, id);
    let said = c.run(new, "cat a.txt", &[]).await;
    assert_eq!(said[1]["event"]["data"]["stdout"], "Zm9ya2VkCg==");
    assert_eq!(
        c.ask(
            "POST",
            &format!("/sandboxes/{id}/fork"),
            Some(json!({"count": 0}))
        )
        .await
        .status,
        400
    );
    assert_eq!(c.ask("POST", "/sandboxes/none/fork", None).await.status, 404);
}

#[tokio::test]
async fn templates_are_found_built_and_refused() {
    let c = Client::new();
    assert_eq!(
        c.ask("GET", "/templates/aliases/code-interpreter-v1", None)
            .await
            .json()["templateID"],
        "base"
    );
    assert_eq!(c.ask("GET", "/templates/aliases/none", None).await.status, 404);
    let detail = c.ask("GET", "/templates/base", None).await.json();
    assert_eq!(detail["builds"][0]["buildID"], detail["buildID"]);
    assert_eq!(detail["buildID"].as_str().unwrap().len(), 36);
    let asked = c
        .ask("POST", "/v3/templates", Some(json!({"name": "mine"})))
        .await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let build = asked.json()["buildID"].as_str().unwrap().to_owned();
    let at = format!("/v2/templates/mine/builds/{build}");
    let status = async || {
        c.ask("GET", &format!("/templates/mine/builds/{build}/status"), None)
            .await
    };
    assert_eq!(status().await.json()["status"], "waiting");
    assert_eq!(
        c.ask_as(
            OTHER_KEY,
            "GET",
            &format!("/templates/mine/builds/{build}/status"),
            None
        )
        .await
        .status,
        404
    );
    let steps = json!({"fromTemplate": "base", "steps": [{"type": "RUN", "args": ["true"]}]});
    let refused = c.ask("POST", &at, Some(steps)).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("RUN"));
    let begun = c
        .ask(
            "POST",
            &at,
            Some(json!({"fromTemplate": "base", "startCmd": "true", "steps": []})),
        )
        .await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    assert_eq!(status().await.json()["status"], "ready");
    assert_eq!(
        c.ask("POST", "/sandboxes", Some(json!({"templateID": "mine"})))
            .await
            .status,
        201
    );
    assert_eq!(c.ask("DELETE", "/templates/mine", None).await.status, 204);
    assert_eq!(c.ask("DELETE", "/templates/base", None).await.status, 403);
    // An image is handed to the node, which says what it can.
    let build = c
        .ask("POST", "/v3/templates", Some(json!({"name": "image"})))
        .await
        .json()["buildID"]
        .clone();
    let at = format!("/v2/templates/image/builds/{}", build.as_str().unwrap());
    assert_eq!(
        c.ask("POST", &at, Some(json!({"fromImage": "python:3.12"})))
            .await
            .status,
        400
    );
    for wrong in [
        json!({}),
        json!({"name": "a b"}),
        json!({"name": "a", "tags": ["v1"]}),
        json!({"name": "a", "cpuCount": 2}),
    ] {
        assert_eq!(
            c.ask("POST", "/v3/templates", Some(wrong.clone())).await.status,
            400,
            "{wrong}"
        );
    }
    assert_eq!(
        c.ask("POST", "/v3/templates", Some(json!({"name": "base"})))
            .await
            .status,
        409
    );
    assert_eq!(c.ask("GET", "/templates/base/files/abc", None).await.status, 400);
}

#[tokio::test]
async fn what_a_public_template_lends_is_not_kept_without_an_admin_key() {
    let c = Client::new();
    let add = |id: &str, public: bool, files: Option<&str>, policy: &str| {
        let mut all = c.node.templates.lock().unwrap();
        let mut template = all[0].1.clone();
        template.id = id.into();
        template.names = Vec::new();
        (template.public, template.files, template.policy) =
            (public, files.map(str::to_owned), policy.to_owned());
        let owner = (!public).then(|| Tenant::parse("one").unwrap());
        all.push((owner, template));
    };
    add("plain", true, None, "version: 1\n");
    add("files", true, Some("/srv/files"), "offline");
    add("secrets", true, None, "coding-agent");
    add("unread", true, None, "version: 1\nextends: ./of-the-host.yaml\n");
    add("own", false, Some("/srv/files"), "coding-agent");
    let build = async |key: &str, from: &str, n: usize| {
        let name = format!("{from}-{n}");
        let asked = json!({"name": name});
        let asked = c.ask_as(key, "POST", "/v3/templates", Some(asked)).await.json();
        let at = format!(
            "/v2/templates/{name}/builds/{}",
            asked["buildID"].as_str().unwrap()
        );
        let answer = c
            .ask_as(key, "POST", &at, Some(json!({"fromTemplate": from})))
            .await;
        answer.status.as_u16()
    };
    // A snapshot's template has its policy, and the files of the sandbox.
    let snapshot = async |key: &str, from: &str| {
        let id = c
            .ask("POST", "/sandboxes", Some(json!({"templateID": from})))
            .await
            .json()["sandboxID"]
            .as_str()
            .unwrap()
            .to_owned();
        let taken = c
            .ask("POST", &format!("/sandboxes/{id}/snapshots"), Some(json!({})))
            .await
            .json();
        let new = json!({"templateID": taken["snapshotID"]});
        c.ask_as(key, "POST", "/sandboxes", Some(new))
            .await
            .status
            .as_u16()
    };
    for (from, build_is, snapshot_is) in [
        ("plain", 202, 201),
        ("files", 403, 201),
        ("secrets", 403, 403),
        ("unread", 403, 403),
        ("own", 202, 201),
    ] {
        assert_eq!(build(KEY, from, 1).await, build_is, "{from}");
        assert_eq!(build(ADMIN_KEY, from, 2).await, 202, "{from}");
        assert_eq!(snapshot(KEY, from).await, snapshot_is, "{from}");
        assert_eq!(snapshot(ADMIN_KEY, from).await, 201, "{from}");
    }
}
