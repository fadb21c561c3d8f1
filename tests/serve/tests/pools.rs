//! What waits in a pool belongs to nobody: a daemon that is told to end leaves none of it, whenever it is told.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use qila_agents::host::Mode;
use qila_agents::skip::Skip;
use qila_serve_tests::{Daemon, everybody};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long a pool may take to be full.
const FULL: Duration = Duration::from_secs(30);
/// How long processes may take to go.
const GOING: Duration = Duration::from_secs(5);

async fn pool(daemon: &Daemon, size: u32) {
    let policy = "version: 1\nresources: {cpu: 1, memory: 256MiB, disk: 64MiB, processes: 64, wall_time: 1h}\n\
                  filesystem: {workspace: layer}\n";
    let body = json!({"source": "host", "policy": policy, "pool": size});
    let path = "/v1/templates/ready-made";
    daemon.client().ask("PUT", path, &body).await.unwrap().must(200);
}

/// Guests of its sandboxes that run.
fn guests(daemon: &Daemon) -> usize {
    // The daemon itself, and its launcher.
    daemon.marks().processes().len().saturating_sub(2)
}

async fn full(daemon: &Daemon, size: usize) {
    let begun = Instant::now();
    while guests(daemon) < size {
        assert!(
            begun.elapsed() < FULL,
            "{} of {size}: {}",
            guests(daemon),
            daemon.log()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many of its processes are left. Its launcher ends when it sees that the daemon has.
async fn left(daemon: &Daemon) -> usize {
    let begun = Instant::now();
    loop {
        let left = daemon.marks().processes().len();
        if left <= 1 || begun.elapsed() > GOING {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ends(mode: Mode) {
    let mut daemon = match Daemon::start(mode, &[]) {
        Ok(daemon) => daemon,
        Err(skip) => return skip.report("pools at the end of a daemon"),
    };
    let client = &mut daemon.client();
    let probe = client.ask("POST", "/v1/sandboxes", &json!({})).await.unwrap();
    if mode == Mode::Unprivileged && probe.status == 422 {
        return Skip::because(probe.text()).report("pools of an unprivileged user");
    }
    let kept = probe.must(201).json()["id"].as_str().unwrap().to_owned();
    pool(&daemon, 3).await;
    // The last rounds find it full: three, and the one that somebody has.
    for wait in [0, 5, 10, 20, 40, 80, 1000, 1000] {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if wait == 1000 {
            full(&daemon, 4).await;
        }
        daemon.terminate();
        let left = left(&daemon).await;
        assert_eq!(left, 1, "after {wait} ms: {}", daemon.log());
        daemon.again();
    }
    let path = format!("/v1/sandboxes/{kept}");
    let client = &mut daemon.client();
    client.ask("DELETE", &path, &Value::Null).await.unwrap().must(204);
    full(&daemon, 3).await;
    let marks = daemon.marks();
    daemon.end_clean(&marks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_takes_its_pools_along() {
    for mode in everybody() {
        ends(mode).await;
    }
}
