//! `filesystem.Filesystem`.
use crate::support::{Answer, Client};
use serde_json::{Value, json};

async fn fs(c: &Client, id: &str, method: &str, message: Value) -> Answer {
    c.call(id, &format!("filesystem.Filesystem/{method}"), message)
        .await
}

#[tokio::test]
async fn directories_are_made_listed_moved_and_removed() {
    let c = Client::new();
    let id = c.sandbox().await;
    let made = fs(&c, &id, "MakeDir", json!({"path": "a/b"})).await.json();
    assert_eq!(
        (&made["entry"]["name"], &made["entry"]["type"]),
        (&json!("b"), &json!("FILE_TYPE_DIRECTORY"))
    );
    assert_eq!(
        fs(&c, &id, "MakeDir", json!({"path": "~/a/b"})).await.json()["code"],
        "already_exists"
    );
    c.run(
        &id,
        "echo hello > a/b/f; ln -s b a/l; ln -s nowhere a/dead; chmod 640 a/b/f",
        &[],
    )
    .await;
    assert_eq!(
        fs(&c, &id, "MakeDir", json!({"path": "a/b/f"})).await.json()["code"],
        "invalid_argument"
    );
    let list = async |depth: u32| {
        fs(&c, &id, "ListDir", json!({"path": "a", "depth": depth}))
            .await
            .json()
    };
    let names = |list: &Value| -> Vec<String> {
        list["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&list(0).await), ["b", "dead", "l"]);
    let deep = list(2).await;
    assert_eq!(names(&deep), ["b", "f", "dead", "l"]);
    assert_eq!(deep["entries"][1]["permissions"], "-rw-r-----");
    assert_eq!(deep["entries"][1]["size"], "6");
    assert_eq!(deep["entries"][2]["type"], "FILE_TYPE_SYMLINK");
    assert_eq!(deep["entries"][3]["type"], "FILE_TYPE_DIRECTORY");
    assert!(
        deep["entries"][3]["symlinkTarget"]
            .as_str()
            .unwrap()
            .ends_with("/a/b")
    );
    assert_eq!(
        fs(&c, &id, "ListDir", json!({"path": "none"})).await.json()["code"],
        "not_found"
    );
    assert_eq!(
        fs(&c, &id, "ListDir", json!({"path": "a", "depth": 1000}))
            .await
            .json()["code"],
        "invalid_argument"
    );
    // Above the new place, directories are made.
    let moved = fs(
        &c,
        &id,
        "Move",
        json!({"source": "a/b/f", "destination": "x/y/g"}),
    )
    .await
    .json();
    assert_eq!(moved["entry"]["name"], "g", "{moved}");
    assert_eq!(
        fs(&c, &id, "Stat", json!({"path": "a/b/f"})).await.json()["code"],
        "not_found"
    );
    assert_eq!(
        fs(&c, &id, "Move", json!({"source": "none", "destination": "q/r"}))
            .await
            .json()["code"],
        "not_found"
    );
    assert_eq!(
        fs(&c, &id, "Stat", json!({"path": "q"})).await.json()["code"],
        "not_found"
    );
    assert_eq!(
        fs(&c, &id, "Remove", json!({"path": "x"})).await.json(),
        json!({})
    );
    assert_eq!(
        fs(&c, &id, "Remove", json!({"path": "x"})).await.json(),
        json!({})
    );
    assert_eq!(
        fs(&c, &id, "Stat", json!({"path": "a\u{0}b"})).await.json()["code"],
        "invalid_argument"
    );
}
