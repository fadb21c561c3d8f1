//! Lives of sandboxes, and the programs in them.
use crate::common::{err, fed, out};
use crate::daemon::{Daemon, code};
use serde_json::Value;

#[test]
fn a_sandbox_lives_as_it_is_told() {
    let daemon = Daemon::start();
    let id = daemon.create();
    let sh = |script: &str| daemon.said(&["sandbox", "exec", &id, "--", "sh", "-c", script]);
    sh("echo first > f");
    let snapshot = daemon.said(&["sandbox", "snapshot", &id, "--name", "one"]);
    sh("echo second > f");
    let fork = daemon.said(&["sandbox", "fork", &id]);
    assert_ne!(fork, id);
    assert_eq!(
        daemon.said(&["sandbox", "exec", &fork, "--", "cat", "f"]),
        "second"
    );
    daemon.said(&["sandbox", "rollback", &id, &snapshot]);
    assert_eq!(sh("cat f"), "first");
    assert_eq!(
        daemon.json(&["sandbox", "pause", &id, "--json"])[0]["state"],
        "paused"
    );
    let states: Vec<Value> = daemon.json(&["ps", "--json"]);
    let state = |wanted: &str| states.iter().find(|s| s["run"] == wanted).unwrap()["state"].clone();
    assert_eq!((state(&id), state(&fork)), ("paused".into(), "running".into()));
    assert_eq!(
        daemon.json(&["sandbox", "resume", &id, "--json"])[0]["state"],
        "running"
    );
    let before = daemon.json(&["ps", "--json"]);
    let ends = |list: &[Value]| {
        list.iter().find(|s| s["run"] == id.as_str()).unwrap()["ends_ms"]
            .as_u64()
            .unwrap()
    };
    daemon.said(&["sandbox", "timeout", &id, "30m"]);
    assert!(ends(&daemon.json(&["ps", "--json"])) > ends(&before) + 60_000);

    // Tables begin as those of runs here do.
    let table = daemon.said(&["ps"]);
    assert!(
        table.starts_with("RUN                   STATE      TIER       "),
        "{table}"
    );
    let lines = daemon.said(&["log", &id]);
    for what in ["created", "paused", "resumed"] {
        assert!(lines.contains(what), "{what}: {lines}");
    }
    assert!(daemon.said(&["doctor"]).contains("the daemon answers"));
    assert_eq!(daemon.json(&["doctor", "--json"])[0]["ok"], true);

    // Programs that nobody waits for.
    let script = "echo begun; read x; echo heard $x; exit 5";
    let pid = daemon.said(&[
        "sandbox",
        "exec",
        &id,
        "--detach",
        "--tag",
        "bg",
        "--",
        "sh",
        "-c",
        "echo here; sleep 1; exit 6",
    ]);
    let listed = daemon.json(&["sandbox", "programs", &id, "--json"]);
    let found = listed.iter().find(|p| p["tag"] == "bg").unwrap();
    assert_eq!(found["pid"].to_string(), pid);
    let attached = daemon.done(&["sandbox", "attach", &id, "tag:bg"]);
    assert_eq!(
        (code(&attached), out(&attached).as_str()),
        (6, "here\n"),
        "{}",
        err(&attached)
    );
    let done = daemon.done(&["sandbox", "attach", &id, "99999"]);
    assert_ne!(code(&done), 0);
    let command = daemon.qila(&["sandbox", "exec", &id, "--json", "--", "sh", "-c", script]);
    let done = fed(command, b"me\n");
    assert_eq!(
        (code(&done), out(&done).as_str()),
        (5, "begun\nheard me\n"),
        "{}",
        err(&done)
    );
    assert_eq!(serde_json::from_str::<Value>(&err(&done)).unwrap()["exit"], 5);

    daemon.said(&["kill", &id[..id.len() - 1]]);
    daemon.said(&["sandbox", "kill", "latest"]);
    let again = daemon.done(&["kill", &id]);
    assert!(
        code(&again) != 0 && err(&again).contains("no sandbox"),
        "{}",
        err(&again)
    );
    // A kept one stays.
    let kept = daemon.done(&["run", "--keep", "--json", "--", "true"]);
    let run: Value = serde_json::from_str(&err(&kept)).unwrap();
    daemon.said(&["sandbox", "exec", run["run"].as_str().unwrap(), "--", "true"]);
    daemon.said(&["kill", "latest"]);
    daemon.is_empty();
}
