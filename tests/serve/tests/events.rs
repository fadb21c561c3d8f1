//! A listener that comes and goes while things happen misses none and hears none twice.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use qila_agents::host::Mode;
use qila_serve_tests::{Client, Daemon, Events, Said, env, tell};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Clients whose sandboxes things happen to.
const CLIENTS: u64 = 6;
/// How long what is sure to come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn busy(mut client: Client, until: Instant) {
    let id = client.create(&json!({"timeout_ms": 600_000})).await;
    let path = format!("/v1/sandboxes/{id}/timeout");
    while Instant::now() < until {
        client
            .ask("POST", &path, &json!({"timeout_ms": 700_000}))
            .await
            .unwrap()
            .must(200);
    }
    client.delete(&id).await;
}

/// The sandbox whose end is the last event. It is named here before it ends.
type Last = Arc<OnceLock<String>>;

fn is_last(said: &Said, last: &Last) -> bool {
    said.data["kind"] == "ended" && last.get().is_some_and(|id| said.data["sandbox"] == id.as_str())
}

/// Hears a few, goes away, comes back to where it was; in the end until the last.
async fn listen(mut client: Client, last: Last) -> Vec<u64> {
    let mut heard: Vec<u64> = Vec::new();
    loop {
        let after = heard.last().copied().unwrap_or(0).to_string();
        let opened = client
            .open("GET", "/v1/events", &[("last-event-id", &after)], &Value::Null)
            .await;
        let mut events = Events::of(opened.unwrap().into_body());
        let most = if last.get().is_some() { usize::MAX } else { 7 };
        for _ in 0..most {
            let Some(said) = events.within(Duration::from_millis(700)).await else {
                break;
            };
            heard.push(said.id);
            if is_last(&said, &last) {
                return heard;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_comes_and_goes_misses_nothing() {
    let daemon = match Daemon::start(Mode::Root, &[]) {
        Ok(daemon) if Mode::Root.available().is_ok() => daemon,
        Ok(_) => return,
        Err(skip) => return skip.report("a listener that comes and goes"),
    };
    let until = Instant::now() + Duration::from_secs(env("QILA_EVENTS_SECONDS", 4));
    let mut work = JoinSet::new();
    for _ in 0..CLIENTS {
        work.spawn(busy(daemon.client(), until));
    }
    let last = Last::default();
    let mut listeners = JoinSet::new();
    for _ in 0..4 {
        listeners.spawn(listen(daemon.client(), Last::clone(&last)));
    }
    work.join_all().await;
    let mut client = daemon.client();
    let id = client.create(&json!({})).await;
    last.set(id.clone()).unwrap();
    client.delete(&id).await;
    let lists = tokio::time::timeout(PATIENCE, listeners.join_all())
        .await
        .expect("all hear the last event");
    let opened = client
        .open("GET", "/v1/events?after=0", &[], &Value::Null)
        .await
        .unwrap();
    let mut events = Events::of(opened.into_body());
    let mut all = Vec::new();
    loop {
        let said = events.within(PATIENCE).await.expect("the last event comes");
        all.push(said.id);
        if is_last(&said, &last) {
            break;
        }
    }
    assert_eq!(
        all,
        (1..=all.len() as u64).collect::<Vec<_>>(),
        "numbers without a gap"
    );
    tell(&format!(
        "events: {} happened, {} listeners came and went",
        all.len(),
        lists.len()
    ));
    for heard in lists {
        let missed: Vec<_> = all.iter().filter(|seq| !heard.contains(seq)).collect();
        assert!(
            missed.is_empty(),
            "missed {} of {}: {missed:?}",
            missed.len(),
            all.len()
        );
        assert!(
            heard.windows(2).all(|pair| pair[0] < pair[1]),
            "in order, and each once"
        );
    }
}
