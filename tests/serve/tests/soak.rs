//! Thousands of lives, one after another: what the daemon and the host hold at the end is what they held near the beginning.
//! `QILA_CYCLES` says how many (400; the whole is 30,000).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use qila_agents::host::Mode;
use qila_agents::skip::Skip;
use qila_serve_tests::{Client, Daemon, Flat, daemon_flat, env, everybody, tell};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

/// Lives at once.
const AT_ONCE: usize = 8;
/// Looks, over the whole.
const LOOKS: u64 = 5;
/// How much more memory may be held at the end than after the first part: caches of the allocator and of SQLite fill slowly.
const MORE_KIB: u64 = 16 << 10;

/// One life: made, a program that says something, ended.
async fn live(client: &mut Client) {
    let id = client.create(&json!({})).await;
    let said = client.shell(&id, "echo alive").await;
    assert_eq!(
        (said["exit_code"].as_i64(), said["stdout"].as_str()),
        (Some(0), Some("alive\n")),
        "{said}"
    );
    let path = format!("/v1/sandboxes/{id}");
    client.ask("DELETE", &path, &Value::Null).await.unwrap().must(204);
}

async fn lives(daemon: &Daemon, n: u64) {
    let left = Arc::new(AtomicU64::new(n));
    let mut work = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (mut client, left) = (daemon.client(), left.clone());
        work.spawn(async move {
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                live(&mut client).await;
            }
        });
    }
    work.join_all().await;
}

async fn soak(mode: Mode, cycles: u64) {
    let mut daemon = match Daemon::start(mode, &[]) {
        Ok(daemon) => daemon,
        Err(skip) => return skip.report("the soak"),
    };
    let probe = daemon
        .client()
        .ask("POST", "/v1/sandboxes", &json!({}))
        .await
        .unwrap();
    if mode == Mode::Unprivileged && probe.status == 422 {
        return Skip::because(probe.text()).report("the soak of an unprivileged user");
    }
    let first = probe.must(201).json()["id"].as_str().unwrap().to_owned();
    let mut marks = daemon.marks();
    daemon.client().delete(&first).await;
    let begun = Instant::now();
    let mut looks: Vec<Flat> = Vec::new();
    for part in 0..LOOKS {
        lives(&daemon, cycles.div_ceil(LOOKS)).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let look = tokio::task::block_in_place(|| daemon_flat(&mut marks, &daemon.home));
        tell(&format!(
            "soak as {mode:?}: part {} of {LOOKS}: {look:?}",
            part + 1
        ));
        looks.push(look);
    }
    let took = begun.elapsed().as_secs_f64();
    let done = cycles.div_ceil(LOOKS) * LOOKS;
    tell(&format!(
        "soak as {mode:?}: {done} lives in {took:.1} s, {:.0} a second",
        done as f64 / took
    ));
    let (early, late) = (looks[0], looks[looks.len() - 1]);
    // Connections of clients that have gone may take a moment; nothing else may differ.
    assert!(late.files <= early.files + AT_ONCE, "open files: {looks:?}");
    assert!(late.threads <= early.threads + 8, "threads: {looks:?}");
    assert!(late.rss_kib <= early.rss_kib + MORE_KIB, "memory: {looks:?}");
    assert_eq!(late.directories, 0, "directories: {looks:?}");
    assert_eq!(
        (late.mounts, late.cgroups, late.namespaces, late.processes),
        (early.mounts, early.cgroups, early.namespaces, early.processes),
        "mounts, cgroups, namespaces, processes: {looks:?}"
    );
    tokio::task::block_in_place(|| daemon.end_clean(&marks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_is_after_many_lives_as_it_was_before() {
    let cycles = env("QILA_CYCLES", 400);
    for mode in everybody() {
        soak(
            mode,
            if mode == Mode::Root {
                cycles
            } else {
                cycles.div_ceil(4)
            },
        )
        .await;
    }
}
