//! What the evidence tells, and to whom.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/recorded.rs"]
mod recorded;
use common::{err, everywhere, out};
use recorded::{events, intact, kinds, length, log_path, until};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};

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
