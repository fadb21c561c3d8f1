//! Bad sandboxes beside good ones: how much of their work the good ones lose. `QILA_GOOD` says how many good ones (20; the whole is
//! 100, with `QILA_LOSS=5` per cent instead of the short run's 25).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use qila_agents::host::Mode;
use qila_agents::skip::Skip;
use qila_serve_tests::{Client, Daemon, env, tell};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long each stretch of work is, milliseconds.
const STRETCH: u64 = 3_000;

/// What bad ones run.
const BAD: [(&str, &str); 4] = [
    ("forks forever", "f() { f | f & }; f; sleep 60"),
    (
        "fills its disk",
        "i=0; while :; do i=$((i+1)); cat /dev/zero >big$i; done",
    ),
    (
        "says more than anybody reads",
        "exec yes 0123456789012345678901234567890123456789",
    ),
    (
        "takes all memory",
        "while :; do x=a; while :; do x=$x$x$x$x; done; done",
    ),
];

/// Steps of work that all good ones make in one stretch.
async fn work(daemon: &Daemon, good: &[String]) -> u64 {
    let mut all = JoinSet::new();
    for id in good {
        let (mut client, path) = (daemon.client(), format!("/v1/sandboxes/{id}/exec"));
        all.spawn(async move {
            let line = "while :; do echo; sleep 0.05; done";
            let body = json!({"shell": line, "timeout_ms": STRETCH});
            let begun = Instant::now();
            let said = client.ask("POST", &path, &body).await.unwrap().must(200).json();
            assert_eq!(said["timed_out"], true, "{said}");
            // A stretch is cut off late where the machine has more to do than it can: steps are counted per time.
            let steps = said["stdout"].as_str().unwrap().len() as f64;
            steps * STRETCH as f64 / 1e3 / begun.elapsed().as_secs_f64()
        });
    }
    all.join_all().await.into_iter().sum::<f64>() as u64
}

async fn other_tenant(admin: &mut Client, daemon: &Daemon) -> Client {
    let policy = "version: 1\nresources: {cpu: 1, memory: 128MiB, disk: 128MiB, processes: 64, wall_time: 1h}\nfilesystem: {workspace: layer}\n";
    let template = json!({"source": "host", "policy": policy, "public": true});
    admin
        .ask("PUT", "/v1/templates/bad", &template)
        .await
        .unwrap()
        .must(200);
    admin
        .ask("PUT", "/v1/tenants/bad", &json!({}))
        .await
        .unwrap()
        .must(200);
    let key = admin
        .ask("POST", "/v1/keys", &json!({"tenant": "bad", "name": "bad"}))
        .await
        .unwrap()
        .must(201)
        .json();
    Client::new(daemon.address, key["key"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_sandboxes_hardly_notice_bad_ones() {
    if let Err(skip) = Mode::Root.available() {
        return skip.report("neighbours: limits of processors and memory need cgroups");
    }
    let mut daemon = match Daemon::start(Mode::Root, &[]) {
        Ok(daemon) => daemon,
        Err(skip) => return skip.report("neighbours"),
    };
    let mut admin = daemon.client();
    let mut good = Vec::new();
    for _ in 0..env("QILA_GOOD", 20) {
        good.push(admin.create(&json!({"timeout_ms": 3_600_000})).await);
    }
    let mut bad = other_tenant(&mut admin, &daemon).await;
    let mut marks = daemon.marks();
    let most = env("QILA_LOSS", 25) as f64;
    let mut too_much = Vec::new();
    work(&daemon, &good).await; // the first is for warming up
    for (what, line) in BAD {
        let before = work(&daemon, &good).await;
        let id = bad.create(&json!({"template": "bad"})).await;
        let path = format!("/v1/sandboxes/{id}/exec/stream");
        let stream = bad
            .open("POST", &path, &[], &json!({"shell": line}))
            .await
            .unwrap();
        assert_eq!(stream.status(), 200);
        tokio::time::sleep(Duration::from_millis(200)).await;
        marks.learn();
        let beside = work(&daemon, &good).await;
        drop(stream); // held, and not read
        // It may have been ended by a limit.
        let ended = bad
            .ask("DELETE", &format!("/v1/sandboxes/{id}"), &Value::Null)
            .await
            .unwrap();
        assert!(matches!(ended.status, 204 | 404), "{}", ended.text());
        let after = work(&daemon, &good).await;
        let alone = (before + after) as f64 / 2.0;
        let lost = 100.0 * (1.0 - beside as f64 / alone);
        tell(&format!(
            "neighbours: {} good ones beside one that {what}: {lost:.1} % less work ({before}, {beside}, {after})",
            good.len()
        ));
        // A loss that is smaller than the machine's own unrest says nothing, in either direction.
        let unrest = 100.0 * before.abs_diff(after) as f64 / alone;
        if unrest > most {
            Skip::because(format!(
                "two stretches without it differ by {unrest:.1} %: the machine is not quiet enough for {most} %"
            ))
            .report(&format!("neighbours: one that {what}"));
        } else if lost > most {
            too_much.push(format!("one that {what}: {lost:.1} %"));
        }
    }
    let said = admin.shell(&good[0], "echo well").await;
    assert_eq!(said["stdout"], "well\n");
    for id in good {
        admin.delete(&id).await;
    }
    tokio::task::block_in_place(|| daemon.end_clean(&marks));
    assert!(
        too_much.is_empty(),
        "more than {most} % of the good ones' work was lost beside {too_much:?}"
    );
}
