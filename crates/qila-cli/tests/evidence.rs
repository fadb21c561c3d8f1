//! What a user may rely on of the evidence: nothing runs without, and it tells what was done to it.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{Place, Who, err, everywhere, out};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What `qila log --json` has.
fn events(place: &Place, more: &[&str]) -> Vec<Value> {
    let output = place
        .qila(&[&["log", "--json"][..], more].concat())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let lines = out(&output);
    lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The kinds of events, in order.
fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["event"].as_str().unwrap()).collect()
}

fn log_path(place: &Place) -> PathBuf {
    place.path("state/evidence/log")
}

fn length(place: &Place) -> u64 {
    log_path(place).metadata().unwrap().len()
}

fn intact(place: &Place) {
    let output = place.qila(&["audit", "verify"]).output().unwrap();
    assert!(output.status.success(), "{}{}", out(&output), err(&output));
}

/// The same command, started by another program.
fn under(wrapper: &[&str], command: &Command) -> Command {
    let mut all = Command::new(wrapper.first().unwrap());
    all.args(wrapper.iter().skip(1))
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .env_clear()
        .envs(command.get_envs().filter_map(|(n, v)| Some((n, v?))))
        .stdin(Stdio::null());
    all
}

/// `qila run` whose first instruction leaves a file in the real workspace.
fn canary(place: &Place, tier: &str) -> Command {
    let args = [
        "run",
        "-q",
        "--policy",
        "offline",
        "--isolation",
        tier,
        "--direct",
        "--",
        "touch",
        "canary",
    ];
    place.qila(&args)
}

fn sang(place: &Place) -> bool {
    place.path("ws/canary").exists()
}

fn until(mut done: impl FnMut() -> bool) -> bool {
    (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        done()
    })
}

/// A run that has done something and waits for a line.
fn waiting(place: &Place, tier: &str, first: &str) -> Child {
    let script = format!("{first}; echo up; read x; exit 3");
    let mut child = place
        .run("offline", tier, &["sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    child
}

#[test]
fn a_launch_is_recorded_before_the_agent_and_its_end_after() {
    everywhere(|place, tier| {
        assert!(place.sh("offline", tier, "true").status.success());
        let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(place.path("state/evidence")), 0o700);
        assert_eq!(mode(log_path(place)), 0o600);
        let mut child = waiting(place, tier, "true");
        assert_eq!(
            kinds(&events(place, &["latest"])),
            ["launch"],
            "while the agent runs"
        );
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        let events = events(place, &["latest"]);
        assert_eq!(kinds(&events), ["launch", "exit"]);
        assert_eq!(events[0]["tier"], tier);
        assert_eq!(events[0]["plan_digest"].as_str().unwrap().len(), 64);
        assert_eq!(events[0]["policy_digest"].as_str().unwrap().len(), 64);
        assert_eq!(events[0]["command"][0], "sh");
        assert_eq!(events[1]["outcome"]["code"], 3);
        assert_eq!(events[1]["outcome"]["reason"]["reason"], "finished");
        assert_eq!(events[1]["usage"]["output_bytes"], 3);
        intact(place);
    });
}

#[test]
fn the_agent_waits_until_its_launch_is_written() {
    everywhere(|place, tier| {
        assert!(place.sh("offline", tier, "true").status.success());
        // Whoever holds the lock keeps every commit from being made.
        let lock = std::fs::File::open(place.path("state/evidence/lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let mut child = canary(place, tier).spawn().unwrap();
        assert!(until(|| !place.runs().is_empty()), "the run is being made");
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!sang(place), "the agent ran ahead of its evidence");
        assert!(child.try_wait().unwrap().is_none());
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(sang(place), "the twin: it runs once the launch is written");
    });
}

#[test]
fn a_flipped_byte_is_named_where_it_is() {
    everywhere(|place, tier| {
        for _ in 0..3 {
            assert!(place.sh("offline", tier, "true").status.success());
        }
        let elsewhere = place.path("checkpoint");
        std::fs::write(
            &elsewhere,
            place.qila(&["audit", "checkpoint"]).output().unwrap().stdout,
        )
        .unwrap();
        let key = out(&place.qila(&["audit", "key"]).output().unwrap())
            .trim()
            .to_owned();
        let verify = || {
            let args = [
                "audit",
                "verify",
                "--json",
                "--key",
                &key,
                "--checkpoint",
                elsewhere.to_str().unwrap(),
            ];
            let output = place.qila(&args).output().unwrap();
            let value: Value = serde_json::from_slice(&output.stdout).unwrap();
            (output.status.code(), value)
        };
        let (code, whole) = verify();
        assert_eq!((code, &whole["intact"]), (Some(0), &Value::Bool(true)), "{whole}");
        let log = std::fs::File::options()
            .read(true)
            .write(true)
            .open(log_path(place))
            .unwrap();
        let mut bytes = std::fs::read(log_path(place)).unwrap();
        // In the second launch, the third record of this log but for the one that opens it.
        let at = bytes
            .windows(8)
            .enumerate()
            .filter(|(_, w)| *w == b"\"launch\"")
            .nth(1)
            .unwrap()
            .0;
        log.write_all_at(b"L", at as u64 + 1).unwrap();
        let (code, damaged) = verify();
        assert_eq!(code, Some(1), "{damaged}");
        let finding = &damaged["report"]["findings"][0];
        assert_eq!(
            (&finding["finding"], &finding["record"]),
            (&"altered".into(), &3.into()),
            "{damaged}"
        );
        let begin = finding["offset"].as_u64().unwrap() as usize;
        assert!(
            begin < at && at - begin < 400,
            "the frame begins before the byte: {begin}, {at}"
        );
        let output = place.qila(&["audit", "verify"]).output().unwrap();
        assert!(
            out(&output).contains("record 3") && output.status.code() == Some(1),
            "{}",
            out(&output)
        );
        // What is whole is still shown, and the damage said.
        let shown = place.qila(&["log"]).output().unwrap();
        assert_eq!(shown.status.code(), Some(1));
        assert!(
            out(&shown).lines().count() >= 4 && err(&shown).contains("damaged"),
            "{}",
            out(&shown)
        );
        // The last commit taken away, and the hint at it: only the checkpoint kept elsewhere knows.
        log.write_all_at(b"l", at as u64 + 1).unwrap();
        let cut = bytes
            .windows(6)
            .enumerate()
            .rfind(|(_, w)| *w == b"\"exit\"")
            .unwrap()
            .0;
        bytes.truncate(cut);
        let frame = bytes.iter().rposition(|b| *b == 0xfe).unwrap();
        log.set_len(frame as u64).unwrap();
        std::fs::remove_file(place.path("state/evidence/head")).unwrap();
        intact(place);
        let (code, gone) = verify();
        assert_eq!(
            (code, &gone["report"]["findings"][0]["finding"]),
            (Some(1), &"truncated".into()),
            "{gone}"
        );
        // A key of somebody else's is not believed.
        let foreign = "qila.dev/evidence/0000000000000000+00000000+AAAA";
        let output = place
            .qila(&["audit", "verify", "--key", foreign])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", out(&output));
    });
}

#[test]
fn without_evidence_nothing_runs() {
    everywhere(|place, tier| {
        let refused = |mut command: Command, why: &str| {
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(125), "{why}: {}", err(&output));
            assert!(!sang(place), "{why}: the agent ran");
            assert!(
                err(&output).contains("refused") || err(&output).contains("cannot be kept"),
                "{}",
                err(&output)
            );
            assert!(
                err(&output).contains("try:"),
                "{why} says what to do: {}",
                err(&output)
            );
            assert!(place.runs().is_empty(), "{why}: {:?}", place.runs());
        };
        // A file where the directory should be.
        let evidence = place.path("state/evidence");
        place.write("state/evidence", "");
        refused(canary(place, tier), "no directory");
        std::fs::remove_file(&evidence).unwrap();
        assert!(place.sh("offline", tier, "true").status.success());
        // Others may write to it.
        std::fs::set_permissions(&evidence, PermissionsExt::from_mode(0o777)).unwrap();
        refused(canary(place, tier), "open to others");
        std::fs::set_permissions(&evidence, PermissionsExt::from_mode(0o700)).unwrap();
        // Files may not grow.
        let mut larger = 0;
        while length(place) < 8192 && larger < 20 {
            assert!(place.sh("offline", tier, "true").status.success());
            larger += 1;
        }
        let (before, size) = (std::fs::read(log_path(place)).unwrap(), length(place));
        let limit = format!("--fsize={}", size + 10);
        refused(
            under(&["prlimit", &limit], &canary(place, tier)),
            "file size limit",
        );
        assert_eq!(
            std::fs::read(log_path(place)).unwrap(),
            before,
            "nothing of it is in the log"
        );
        // A commit that was cut off at the key: nothing may be signed with another.
        let key = place.path("state/evidence/key");
        let aside = place.path("key");
        std::fs::rename(&key, &aside).unwrap();
        refused(canary(place, tier), "no key");
        std::fs::rename(&aside, &key).unwrap();
        // The twin.
        assert!(canary(place, tier).status().unwrap().success() && sang(place));
        intact(place);
    });
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    if !common::everybody().contains(&Who::Nobody) {
        println!("skipped: a full disk: only root can mount one");
        return;
    }
    everywhere(|place, tier| {
        std::fs::create_dir(place.path("state/evidence")).unwrap();
        place.give(&place.path("state/evidence"));
        let owner = std::os::unix::fs::MetadataExt::uid(&place.path("state").metadata().unwrap());
        // Mounted in a mount namespace of the shell's, which takes it away. The last page of the log has some room left on a
        // full disk, so that a run or two may pass before it.
        let script = format!(
            "mount -t tmpfs -o size=64k,mode=700,uid={owner},gid={owner} none {state}/evidence || exit 99\n\
             run() {{ rm -f canary; \"$@\"; code=$?; test -e canary && echo $code sang || echo $code; }}\n\
             run \"$@\"; cat /dev/zero > {state}/evidence/ballast 2>/dev/null; i=0\n\
             while [ $i -lt 20 ] && \"$@\" 2>/dev/null; do i=$((i+1)); done\n\
             run \"$@\"; rm {state}/evidence/ballast; run \"$@\"; cp -a {state}/evidence {state}/copy",
            state = place.path("state").display(),
        );
        let wrapper = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let output = under(&wrapper, &canary(place, tier)).output().unwrap();
        if output.status.code() == Some(99) {
            println!("skipped: a full disk: a tmpfs cannot be mounted here");
            return;
        }
        let ends = out(&output);
        assert_eq!(
            ends.lines().collect::<Vec<_>>(),
            ["0 sang", "125", "0 sang"],
            "{}",
            err(&output)
        );
        assert!(err(&output).contains("no space left"), "{}", err(&output));
        std::fs::rename(place.path("state/copy"), place.path("state/evidence")).unwrap();
        intact(place);
        let events = events(place, &[]);
        let count = |kind: &str| events.iter().filter(|e| e["event"] == kind).count();
        assert_eq!(
            count("launch"),
            count("exit"),
            "every launch has its end: {:?}",
            kinds(&events)
        );
        assert!(place.runs().is_empty());
    });
}

#[test]
fn an_end_that_cannot_be_written_is_recorded_by_the_next() {
    everywhere(|place, tier| {
        let grow = || {
            let before = length(place);
            assert!(canary(place, tier).status().unwrap().success());
            length(place) - before
        };
        assert!(place.sh("offline", tier, "true").status.success());
        // The hint beside the log takes 4 KiB, which the limit is to leave room for.
        let mut one = grow();
        while length(place) < 4096 {
            one = grow();
        }
        // Room for a launch and not for all of an end.
        let limit = format!("--fsize={}", length(place) + one - 100);
        let output = under(&["prlimit", &limit], &canary(place, tier))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125), "{}", err(&output));
        assert!(
            err(&output).contains("(exit 0), but its end is not recorded"),
            "{}",
            err(&output)
        );
        assert_eq!(kinds(&events(place, &["latest"])), ["launch"]);
        let id = events(place, &["latest"])[0]["run"].as_str().unwrap().to_owned();
        assert!(place.sh("offline", tier, "true").status.success());
        assert_eq!(kinds(&events(place, &[&id])), ["launch", "exit", "reclaimed"]);
        assert!(place.runs().is_empty());
        intact(place);
    });
}

#[test]
fn a_dead_run_is_recorded_by_the_next_command() {
    everywhere(|place, tier| {
        for (first, then) in [("true", "run"), ("echo x > left", "diff")] {
            let mut child = waiting(place, tier, first);
            let id = events(place, &["latest"])[0]["run"].as_str().unwrap().to_owned();
            // Through setpriv the child is qila itself: it execs.
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(
                kinds(&events(place, &[&id])),
                ["launch"],
                "nobody was there to record more"
            );
            let next = || match then {
                "run" => place.sh("offline", tier, "true"),
                _ => place.qila(&["diff", &id]).output().unwrap(),
            };
            // The kernel takes the sandbox down meanwhile.
            assert!(until(|| next().status.success()), "{}", err(&next()));
            let events = events(place, &[&id]);
            assert_eq!(kinds(&events), ["launch", "exit", "reclaimed"], "{then}");
            assert_eq!(events[1]["outcome"]["reason"]["reason"], "orphaned");
            assert!(
                events[2]["found"][0].as_str().unwrap().contains(&id),
                "{}",
                events[2]
            );
        }
        intact(place);
    });
}

#[test]
fn apply_discard_and_kill_are_recorded() {
    everywhere(|place, tier| {
        assert!(place.sh("offline", tier, "echo x > new").status.success());
        let id = events(place, &["latest"])[0]["run"].as_str().unwrap().to_owned();
        // What cannot be recorded is not done.
        let evidence = place.path("state/evidence");
        std::fs::set_permissions(&evidence, PermissionsExt::from_mode(0o777)).unwrap();
        for command in ["apply", "discard"] {
            let output = place.qila(&[command, &id]).output().unwrap();
            assert!(
                !output.status.success() && err(&output).contains("nothing was"),
                "{}",
                err(&output)
            );
        }
        assert!(!place.path("ws/new").exists() && place.runs().len() == 1);
        std::fs::set_permissions(&evidence, PermissionsExt::from_mode(0o700)).unwrap();
        assert!(place.qila(&["apply", &id]).output().unwrap().status.success());
        assert!(place.qila(&["discard", &id]).status().unwrap().success());
        let recorded = events(place, &[&id]);
        assert_eq!(kinds(&recorded), ["launch", "exit", "apply", "discard"]);
        assert_eq!(
            (
                &recorded[2]["paths"],
                recorded[2]["digest"].as_str().unwrap().len()
            ),
            (&1.into(), 64)
        );

        let mut child = waiting(place, tier, "true");
        let id = events(place, &["latest"])[0]["run"].as_str().unwrap().to_owned();
        let killed = place.qila(&["kill", "--now", &id]).output().unwrap();
        assert!(killed.status.success(), "{}", err(&killed));
        child.wait().unwrap();
        let recorded = events(place, &[&id]);
        assert_eq!(kinds(&recorded), ["launch", "kill", "exit"]);
        assert!(recorded[1]["by_uid"].is_u64());
        assert_eq!(recorded[2]["outcome"]["reason"]["reason"], "killed");

        // An agent is stopped even where that cannot be recorded, and it is said.
        let mut child = waiting(place, tier, "true");
        let id = events(place, &["latest"])[0]["run"].as_str().unwrap().to_owned();
        std::fs::set_permissions(&evidence, PermissionsExt::from_mode(0o777)).unwrap();
        let killed = place.qila(&["kill", "--now", &id]).output().unwrap();
        assert!(err(&killed).contains("was stopped, but"), "{}", err(&killed));
        assert_eq!(killed.status.code(), Some(1));
        child.wait().unwrap();
        std::fs::set_permissions(&evidence, PermissionsExt::from_mode(0o700)).unwrap();
        intact(place);
    });
}

#[test]
fn limits_and_refusals_are_recorded_by_name() {
    everywhere(|place, tier| {
        let wall = place.policy("wall.yaml", "resources:\n  wall_time: 1s");
        assert_eq!(place.sh(&wall, tier, "sleep 60").status.code(), Some(124));
        let recorded = events(place, &["latest"]);
        assert_eq!(kinds(&recorded), ["launch", "limit", "exit"]);
        let limit = (
            &recorded[1]["clause"],
            &recorded[1]["limit"],
            &recorded[1]["stopped"],
        );
        assert_eq!(limit, (&"resources.wall_time".into(), &"1s".into(), &true.into()));
        assert_eq!(recorded[2]["outcome"]["reason"]["clause"], "resources.wall_time");
        let hard = place.policy("hard.yaml", "resources:\n  disk: {hard: 1GiB}");
        assert_eq!(place.sh(&hard, tier, "true").status.code(), Some(125));
        let recorded = events(place, &["latest"]);
        assert_eq!(
            (kinds(&recorded), &recorded[0]["clause"]),
            (vec!["refused"], &"resources.disk".into())
        );
        let args = [
            "run",
            "-q",
            "--policy",
            "offline",
            "--isolation",
            tier,
            "--",
            "no-such-command",
        ];
        assert_eq!(place.qila(&args).output().unwrap().status.code(), Some(127));
        let recorded = events(place, &["latest"]);
        assert_eq!(kinds(&recorded), ["launch", "refused"]);
        assert_eq!(recorded[1]["clause"], "command");
        // To look at a plan is no launch.
        let before = length(place);
        let args = [
            "run",
            "--plan",
            "--policy",
            &hard,
            "--isolation",
            tier,
            "--",
            "true",
        ];
        assert!(!place.qila(&args).output().unwrap().status.success());
        assert_eq!(length(place), before);
        intact(place);
    });
}

#[test]
fn the_log_is_shown_to_people_and_to_programs() {
    everywhere(|place, tier| {
        let nothing = place.qila(&["log"]).output().unwrap();
        assert!(
            !nothing.status.success() && err(&nothing).contains("try:"),
            "{}",
            err(&nothing)
        );
        // The escape sequences of a hostile command line, one of them in UTF-8's second control block.
        let hostile = "true \x1b[2J\u{9b}31m \u{202e}";
        assert!(place.sh("offline", tier, hostile).status.success());
        assert_eq!(place.sh("offline", tier, "exit 4").status.code(), Some(4));
        let all = out(&place.qila(&["log"]).output().unwrap());
        assert!(
            !all.chars()
                .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{all:?}"
        );
        assert!(all.contains("launch") && all.contains("exit 4"), "{all}");
        let json = out(&place.qila(&["log", "--json"]).output().unwrap());
        assert!(
            !json
                .chars()
                .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
            "{json:?}"
        );
        let records: Vec<Value> = json.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(records.len(), 5);
        assert_eq!(records[1]["command"][2], hostile, "the same text, once read");
        assert!(records.iter().enumerate().all(|(i, r)| r["record"] == i));
        let ocsf = out(&place.qila(&["log", "--ocsf"]).output().unwrap());
        let classes: Vec<u64> = ocsf
            .lines()
            .map(|l| {
                serde_json::from_str::<Value>(l).unwrap()["class_uid"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        assert_eq!(classes, [1008, 1007, 1007, 1007, 1007]);
        // One run: by its id, by the beginning of it, as the latest.
        let id = records[3]["run"].as_str().unwrap();
        let begin = (1..20)
            .map(|n| &id[..n])
            .find(|b| !records[1]["run"].as_str().unwrap().starts_with(b));
        for name in [id, begin.unwrap(), "latest"] {
            assert_eq!(events(place, &[name]), records[3..], "{name}");
        }
        let several = place.qila(&["log", &id[..1]]).output().unwrap();
        assert!(err(&several).contains("several"), "{}", err(&several));
        let none = place.qila(&["log", "nosuchrun"]).output().unwrap();
        assert!(err(&none).contains("no evidence"), "{}", err(&none));
        // Other tools.
        let export = place.path("home/export");
        let done = place
            .qila(&["audit", "export", export.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", err(&done));
        let checkpoint = std::fs::read(export.join("checkpoint")).unwrap();
        assert_eq!(
            checkpoint.trim_ascii(),
            place
                .qila(&["audit", "checkpoint"])
                .output()
                .unwrap()
                .stdout
                .trim_ascii()
        );
        assert!(export.join("tile/0/000.p/5").is_file());
    });
}

#[test]
fn who_follows_sees_what_comes() {
    everywhere(|place, tier| {
        assert!(place.sh("offline", tier, "true").status.success());
        let mut follower = place
            .qila(&["log", "--follow", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        let mut next =
            || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["event"].clone();
        assert_eq!([next(), next(), next()], ["log_opened", "launch", "exit"]);
        assert!(place.sh("offline", tier, "exit 9").status.code() == Some(9));
        assert_eq!([next(), next()], ["launch", "exit"]);
        drop(lines);
        assert!(
            until(|| follower.try_wait().unwrap().is_some()),
            "it goes when nobody reads"
        );
    });
}

#[test]
fn runs_at_once_share_one_log() {
    everywhere(|place, tier| {
        let runs: Vec<Child> = (0..4)
            .map(|_| place.run("offline", tier, &["true"]).spawn().unwrap())
            .collect();
        for mut run in runs {
            assert!(run.wait().unwrap().success());
        }
        let events = events(place, &[]);
        assert_eq!(
            events.len(),
            9,
            "opened once, and two of each: {:?}",
            kinds(&events)
        );
        intact(place);
    });
}
