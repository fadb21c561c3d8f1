//! Watches, as streams and as watchers that are asked.
use crate::support::{Client, Reading};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn what_happens_is_streamed() {
    let c = Client::new();
    let id = c.sandbox().await;
    c.run(&id, "mkdir -p d/sub", &[]).await;
    let message = json!({"path": "d", "recursive": true, "includeEntry": true});
    let request = Client::stream(
        &id,
        "filesystem.Filesystem/WatchDir",
        &[("keepalive-ping-interval", "50")],
        message,
    );
    let mut reading = Reading::new(c.open(request).await);
    assert_eq!(reading.next().await.unwrap().1, json!({"start": {}}));
    c.run(&id, "echo x > d/sub/f", &[]).await;
    let (_, event) = reading.next().await.unwrap();
    assert_eq!(event["filesystem"]["name"], "sub/f", "{event}");
    assert_eq!(event["filesystem"]["type"], "EVENT_TYPE_CREATE");
    assert_eq!(event["filesystem"]["entry"]["type"], "FILE_TYPE_FILE");
    drop(reading);
    let file = Client::stream(
        &id,
        "filesystem.Filesystem/WatchDir",
        &[],
        json!({"path": "d/sub/f"}),
    );
    let (flags, last) = Reading::new(c.open(file).await).next().await.unwrap();
    assert_eq!((flags, &last["error"]["code"]), (2, &json!("invalid_argument")));
}

async fn ask(c: &Client, id: &str, method: &str, watcher: &Value) -> Value {
    c.call(
        id,
        &format!("filesystem.Filesystem/{method}"),
        json!({"watcherId": watcher}),
    )
    .await
    .json()
}

#[tokio::test]
async fn what_happened_is_kept_until_it_is_asked_for() {
    let c = Client::new();
    let id = c.sandbox().await;
    let create = async || {
        c.call(&id, "filesystem.Filesystem/CreateWatcher", json!({"path": "."}))
            .await
            .json()
    };
    let watcher = create().await["watcherId"].clone();
    assert!(watcher.as_str().unwrap().len() >= 16);
    assert_eq!(
        ask(&c, &id, "GetWatcherEvents", &watcher).await["events"],
        json!([])
    );
    c.run(&id, "echo x > f", &[]).await;
    let mut seen = Vec::new();
    for _ in 0..1000 {
        let events = ask(&c, &id, "GetWatcherEvents", &watcher).await["events"].clone();
        seen.extend(
            events
                .as_array()
                .unwrap()
                .iter()
                .map(|e| e["type"].as_str().unwrap().to_owned()),
        );
        if seen.len() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(seen[..2], ["EVENT_TYPE_CREATE", "EVENT_TYPE_WRITE"]);
    // Another sandbox knows nothing of it.
    let other = c.sandbox().await;
    assert_eq!(
        ask(&c, &other, "GetWatcherEvents", &watcher).await["code"],
        "not_found"
    );
    assert_eq!(ask(&c, &id, "RemoveWatcher", &watcher).await, json!({}));
    assert_eq!(
        ask(&c, &id, "GetWatcherEvents", &watcher).await["code"],
        "not_found"
    );
    // So many and no more.
    for _ in 0..64 {
        assert!(create().await.get("watcherId").is_some());
    }
    assert_eq!(create().await["code"], "resource_exhausted");
    c.ask("DELETE", &format!("/sandboxes/{id}"), None).await;
}
