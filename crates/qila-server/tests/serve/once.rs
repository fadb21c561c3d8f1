//! Repeated requests.
use crate::client::until;
use crate::running::start;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_two_equal_requests_at_once_make_one_sandbox() {
    let server = Arc::new(start().await);
    *server.node.create_takes.lock().unwrap() = Duration::from_millis(150);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let server = Arc::clone(&server);
        all.spawn(async move {
            let key = [("idempotency-key", "the-same")];
            server
                .ask_with("POST", "/v1/sandboxes", r#"{"secure": true}"#, &key)
                .await
        });
    }
    let (mut bodies, mut replayed) = (std::collections::HashSet::new(), 0);
    while let Some(answer) = all.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        replayed += usize::from(answer.headers.contains_key("idempotency-replayed"));
        bodies.insert(answer.text());
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(replayed, 31);
    assert_eq!(server.node.created.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_tenant() {
    let mut server = start().await;
    let key = [("idempotency-key", "k")];
    let first = server.ask_with("POST", "/v1/sandboxes", "{}", &key).await.text();
    assert_eq!(
        server.ask_with("POST", "/v1/sandboxes", "{}", &key).await.text(),
        first
    );
    server
        .ask_with("POST", "/v1/sandboxes", r#"{"secure": true}"#, &key)
        .await
        .problem(409);
    let id = server.sandbox().id;
    server
        .ask_with("POST", &format!("/v1/sandboxes/{id}/fork"), "{}", &key)
        .await
        .problem(409);
    for bad in ["", "with space", &"x".repeat(129)] {
        server
            .ask_with("POST", "/v1/sandboxes", "{}", &[("idempotency-key", bad)])
            .await
            .problem(400);
    }
    server.key = server.key_of("two", false, None).await;
    let other = server.ask_with("POST", "/v1/sandboxes", "{}", &key).await;
    assert_eq!(other.status, 201);
    assert_ne!(other.text(), first);
}

#[tokio::test]
async fn a_failure_is_not_remembered_and_a_client_that_leaves_changes_nothing() {
    let server = start().await;
    let key = [("idempotency-key", "k")];
    *server.node.fails.lock().unwrap() = Some(qila_api::ApiError::new(qila_api::Kind::Quota, "full"));
    server
        .ask_with("POST", "/v1/sandboxes", "{}", &key)
        .await
        .problem(429);
    assert_eq!(
        server.ask_with("POST", "/v1/sandboxes", "{}", &key).await.status,
        201
    );

    server.node.hold.store(true, Ordering::SeqCst);
    let key = [("idempotency-key", "left")];
    tokio::select! {
        _ = server.ask_with("POST", "/v1/sandboxes", "{}", &key) => panic!("it is held"),
        () = until("it has begun", async || server.node.has_begun(3)) => {}
    }
    server.node.hold.store(false, Ordering::SeqCst);
    let again = server.ask_with("POST", "/v1/sandboxes", "{}", &key).await;
    assert_eq!(again.status, 201);
    assert!(again.headers.contains_key("idempotency-replayed"));
    assert_eq!(server.node.created.load(Ordering::SeqCst), 2);
}
