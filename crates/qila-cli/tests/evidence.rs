//! What a user may rely on of the evidence: nothing runs without.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/recorded.rs"]
mod recorded;
use common::{Who, err, everywhere, out};
use recorded::{canary, events, intact, kinds, length, log_path, sang, under, until, waiting};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

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
