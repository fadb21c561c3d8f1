//! P7: whatever fails, and wherever Qila is killed, nothing remains.
//!
//! strace makes one system call of a run fail, or kills the process that makes it: of the launcher, its helpers and the child
//! that builds the sandbox, each the k-th time that it makes that call.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{Place, TIERS, everybody};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Calls that make or change something, of every part of a run.
const CALLS: [&str; 30] = [
    "clone3",
    "openat",
    "openat2",
    "mkdirat",
    "renameat",
    "unlinkat",
    "rmdir",
    "flock",
    "fsync",
    "fdatasync",
    "pwrite64",
    "write",
    "read",
    "pipe2",
    "socketpair",
    "sendmsg",
    "recvmsg",
    "waitid",
    "pidfd_send_signal",
    "socket",
    "bind",
    "listen",
    "fsopen",
    "fsmount",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "pivot_root",
    "umount2",
    "capset",
];
/// Which time, of each call and process.
const TIMES: [u32; 5] = [1, 2, 3, 6, 12];

fn strace() -> bool {
    let there = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    there.is_ok_and(|s| s.success())
}

/// Processes of this place that are still there: copies of `qila`, and guests.
fn processes(place: &Place) -> Vec<String> {
    let mark = place.path("").to_string_lossy().into_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let exe = std::fs::read_link(path.join("exe")).unwrap_or_default();
        // One that is dead already and only not reaped by its parent has neither.
        if line.contains(&mark) || exe.to_string_lossy().contains(&mark) {
            found.push(format!("{} {line}", path.display()));
        }
    }
    found
}

/// Cgroups that name a run of this place.
fn cgroups(runs: &[String]) -> Vec<String> {
    let found = Command::new("find")
        .args(["/sys/fs/cgroup", "-type", "d", "-name", "qila-*"])
        .output()
        .unwrap();
    let found = common::out(&found);
    let of = |line: &&str| runs.iter().any(|run| line.contains(run.as_str()));
    found.lines().filter(of).map(str::to_owned).collect()
}

/// Runs that the log knows, or that left a directory.
fn runs(place: &Place) -> Vec<String> {
    let log = place.qila(&["log", "--json"]).output().unwrap();
    let named = common::out(&log);
    let mut runs: Vec<String> = named
        .lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter_map(|v| v["run"].as_str().map(str::to_owned))
        .collect();
    runs.extend(
        place
            .runs()
            .iter()
            .filter_map(|p| p.file_name()?.to_str().map(str::to_owned)),
    );
    runs.sort();
    runs.dedup();
    runs
}

fn eventually(check: impl Fn() -> Vec<String>) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = check();
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One run with one fault. Answers whether it took effect.
fn fault(place: &Place, tier: &str, policy: &str, call: &str, fault: &str, time: u32) -> bool {
    let inject = format!("inject={call}:{fault}:when={time}");
    let trace = format!("trace={call}");
    let report = place.path("state/strace");
    let report = report.to_str().unwrap();
    let starter = ["strace", "-f", "-qq", "-o", report, "-e", &trace, "-e", &inject];
    let args = [
        "run",
        "-q",
        "--policy",
        policy,
        "--isolation",
        tier,
        "--",
        "sh",
        "-c",
        "echo new > made; echo old > file",
    ];
    let mut command = place.beneath(&starter, &args);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let label = format!("{tier} {call} {fault} {time}");
    while child.try_wait().unwrap().is_none() {
        assert!(
            Instant::now() < deadline,
            "{label}: it hangs: {:?}",
            processes(place)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(eventually(|| processes(place)), Vec::<String>::new(), "{label}");
    let text = std::fs::read_to_string(report).unwrap_or_default();
    let _ = std::fs::remove_file(report);
    // Each line begins with the process; strace counts calls for each of them.
    let begun = format!(" {call}(");
    let mut made = BTreeMap::new();
    for line in text.lines().filter(|l| l.contains(&begun)) {
        *made.entry(line.split(' ').next()).or_insert(0u32) += 1;
    }
    made.values().any(|n| *n >= time)
}

fn inject(what: &str) {
    if !strace() {
        println!("skipped: faults at every step: strace is not installed");
        return;
    }
    for who in everybody() {
        let place = Place::new(who);
        let policy = place.policy(
            "gate.yaml",
            "network: {allow: [{host: a.test, port: 80, methods: [GET]}]}",
        );
        place.write("ws/file", "as it was");
        for tier in TIERS {
            let mut took = 0;
            for call in CALLS {
                let mut known = runs(&place);
                for time in TIMES {
                    if !fault(&place, tier, &policy, call, what, time) {
                        break; // it is not made that often
                    }
                    took += 1;
                }
                // What a killed run left is found by the next, which leaves nothing of its own.
                known.extend(runs(&place));
                let next = place.sh("offline", tier, "true");
                assert!(
                    next.status.success(),
                    "{tier} {call} {what}: {}",
                    common::err(&next)
                );
                known.extend(runs(&place));
                assert_eq!(
                    eventually(|| cgroups(&known)),
                    Vec::<String>::new(),
                    "{tier} {call} {what}"
                );
                for dir in place.runs() {
                    // Kept for its changes, and with its end recorded.
                    let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
                    let gone = place.qila(&["discard", &name]).output().unwrap();
                    assert!(
                        gone.status.success(),
                        "{tier} {call} {what}: {}",
                        common::err(&gone)
                    );
                }
                assert!(
                    place.runs().is_empty(),
                    "{tier} {call} {what}: {:?}",
                    place.runs()
                );
                assert_eq!(
                    std::fs::read_to_string(place.path("ws/file")).unwrap(),
                    "as it was"
                );
                assert!(!Path::new(&place.path("ws/made")).exists());
            }
            let verified = place.qila(&["audit", "verify"]).output().unwrap();
            assert!(
                verified.status.success(),
                "{tier} {what}: {}",
                common::out(&verified)
            );
            println!("{tier} as {who:?}: {took} faults ({what}) took effect, nothing remained");
            assert!(took > 40, "only {took} faults took effect");
        }
    }
}

#[test]
fn nothing_remains_when_a_step_fails() {
    inject("error=EIO");
}

#[test]
fn nothing_remains_when_a_process_is_killed() {
    inject("signal=KILL");
}
