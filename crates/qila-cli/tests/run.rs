//! What a user of `qila run` may rely on.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{err, everywhere, fed, out};
use std::process::Stdio;

#[test]
fn exit_codes_are_the_commands_own() {
    everywhere(|place, tier| {
        assert_eq!(place.sh("offline", tier, "exit 7").status.code(), Some(7));
        assert_eq!(place.sh("offline", tier, "kill -9 $$").status.code(), Some(137));
        let run = |cmd: &str| {
            place
                .qila(&["run", "-q", "--policy", "offline", "--isolation", tier, "--", cmd])
                .output()
                .unwrap()
        };
        assert_eq!(run("no-such-command").status.code(), Some(127));
        place.write("ws/plain", "not a program");
        assert_eq!(run("./plain").status.code(), Some(126));
    });
}

#[test]
fn streams_pass_through_apart_and_whole() {
    everywhere(|place, tier| {
        let sent = "line\n".repeat(100_000);
        let output = fed(
            place.run("offline", tier, &["sh", "-c", "cat; echo e >&2"]),
            sent.as_bytes(),
        );
        assert!(
            out(&output) == sent,
            "{} bytes of {}",
            output.stdout.len(),
            sent.len()
        );
        assert_eq!(err(&output), "e\n");
    });
}

#[test]
fn the_workspace_stays_as_it_was_unless_direct() {
    everywhere(|place, tier| {
        place.write("ws/kept", "before");
        let output = place.sh("offline", tier, "echo after > kept; echo new > new; cat kept");
        assert_eq!(out(&output), "after\n", "{}", err(&output));
        assert_eq!(std::fs::read_to_string(place.path("ws/kept")).unwrap(), "before");
        assert!(!place.path("ws/new").exists());
        let layer = place.runs().pop().unwrap().join("layer/upper");
        assert_eq!(std::fs::read_to_string(layer.join("new")).unwrap(), "new\n");
        let args = [
            "run",
            "-q",
            "--policy",
            "offline",
            "--isolation",
            tier,
            "--direct",
            "--",
            "sh",
            "-c",
            "echo d > new",
        ];
        assert!(place.qila(&args).status().unwrap().success());
        assert_eq!(std::fs::read_to_string(place.path("ws/new")).unwrap(), "d\n");
    });
}

#[test]
fn limits_end_a_run_and_say_so() {
    everywhere(|place, tier| {
        let policy = |name: &str, limit: &str| place.policy(name, &format!("resources:\n  {limit}"));
        let stopped = |policy: &str, script: &str, says: &str| {
            let output = place.sh(policy, tier, script);
            assert_eq!(output.status.code(), Some(124), "{script}: {}", err(&output));
            assert!(err(&output).contains(says), "{}", err(&output));
        };
        stopped(
            &policy("wall.yaml", "wall_time: 1s"),
            "sleep 60",
            "wall time limit 1s reached",
        );
        stopped(
            &policy("out.yaml", "output: 64KiB"),
            "head -c 1000000 /dev/zero",
            "output limit 64KiB reached",
        );
        stopped(
            &policy("mem.yaml", "memory: 64MiB"),
            "head -c 300000000 /dev/zero | tail -c 300000000 | sleep 20",
            "memory limit",
        );
        stopped(
            &policy("disk.yaml", "disk: 8MiB"),
            "i=0; while [ $i -lt 100 ]; do head -c 1000000 /dev/zero > f$i; sleep 0.05; i=$((i+1)); done; sleep 20",
            "disk limit reached",
        );
        let shared = "import mmap, time\nm = mmap.mmap(-1, 300 << 20)\n\
                      for i in range(0, 300 << 20, 4096): m[i] = 1\ntime.sleep(20)\n";
        place.write("ws/shared.py", shared);
        stopped(
            &policy("mem.yaml", "memory: 64MiB"),
            "/usr/bin/python3 shared.py",
            "memory limit",
        );
        let many = "i=0; while [ $i -lt 40000 ]; do : > e$i; i=$((i+1)); done; sleep 20";
        stopped(&policy("disk.yaml", "disk: 8MiB"), many, "disk limit reached");
        // A bound on processes refuses; it does not end the run.
        let few = policy("few.yaml", "processes: 8");
        let output = place.sh(
            &few,
            tier,
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 3 & done; wait; echo done",
        );
        assert!(
            !out(&output).contains("done"),
            "twelve sleepers fitted into eight processes: {}",
            err(&output)
        );
    });
}

#[test]
fn changes_are_shown_applied_and_discarded() {
    everywhere(|place, tier| {
        place.write("ws/kept", "one\ntwo\n");
        place.write("ws/gone", "x\n");
        let qila = |args: &[&str]| place.qila(args).output().unwrap();
        let changed = || {
            assert!(
                place
                    .sh("offline", tier, "echo three >> kept; rm gone; echo new > new")
                    .status
                    .success()
            );
            place
                .runs()
                .pop()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        let run = changed();
        let diff = out(&qila(&["diff", &run]));
        assert!(
            diff.contains("+three") && diff.contains("+new") && diff.contains("-x"),
            "{diff}"
        );
        assert!(out(&qila(&["diff", "--stat", &run])).contains("kept"));
        let json: serde_json::Value =
            serde_json::from_slice(&qila(&["diff", "--json", &run]).stdout).unwrap();
        assert_eq!(json["changes"].as_array().unwrap().len(), 3, "{json}");
        assert_eq!(
            std::fs::read_to_string(place.path("ws/kept")).unwrap(),
            "one\ntwo\n",
            "not yet applied"
        );
        let applied = qila(&["apply", &run]);
        assert!(applied.status.success(), "{}", err(&applied));
        assert_eq!(
            std::fs::read_to_string(place.path("ws/kept")).unwrap(),
            "one\ntwo\nthree\n"
        );
        assert!(place.path("ws/new").exists() && !place.path("ws/gone").exists());
        let again = qila(&["apply", &run]);
        assert!(
            !again.status.success() && err(&again).contains("already applied"),
            "{}",
            err(&again)
        );
        assert!(qila(&["discard", &run]).status.success() && place.runs().is_empty());
        assert!(!qila(&["diff", &run]).status.success(), "a run that is gone");
        // What changed on the host meanwhile is a conflict, and nothing is applied.
        place.write("ws/gone", "back\n");
        let run = changed();
        std::thread::sleep(std::time::Duration::from_millis(20));
        place.write("ws/kept", "host\n");
        let refused = qila(&["apply", &run]);
        assert!(
            !refused.status.success() && err(&refused).contains("kept"),
            "{}",
            err(&refused)
        );
        assert_eq!(std::fs::read_to_string(place.path("ws/kept")).unwrap(), "host\n");
        assert!(place.path("ws/gone").exists(), "all or nothing");
        // A git hook runs on the host by itself: it is named, and not applied unasked.
        assert!(
            place
                .sh(
                    "offline",
                    tier,
                    "mkdir -p .git/hooks; echo x > .git/hooks/post-checkout"
                )
                .status
                .success()
        );
        let hook = place
            .runs()
            .iter()
            .map(|r| r.file_name().unwrap().to_str().unwrap().to_owned())
            .max()
            .unwrap();
        let refused = qila(&["apply", &hook]);
        assert!(
            !refused.status.success() && err(&refused).contains("post-checkout"),
            "{}",
            err(&refused)
        );
        assert!(!place.path("ws/.git").exists());
        assert!(
            qila(&["apply", "--include-risky", &hook]).status.success()
                && place.path("ws/.git/hooks").exists()
        );
    });
}

#[test]
fn limits_that_refuse_do_so() {
    everywhere(|place, tier| {
        let files = place.policy("files.yaml", "resources:\n  open_files: 16");
        let script = "ulimit -n; ulimit -n 64; echo $?; head -c 1 /dev/zero | wc -c";
        let output = place.sh(&files, tier, script);
        let lines: Vec<String> = out(&output).lines().map(|l| l.trim().to_owned()).collect();
        assert!(
            lines.first().is_some_and(|l| l == "16"),
            "{lines:?} {}",
            err(&output)
        );
        assert!(
            lines.get(1).is_none_or(|l| l != "0"),
            "the limit was raised: {lines:?}"
        );
        let disk = place.policy("scratch.yaml", "resources:\n  disk: 8MiB");
        for dir in ["/tmp", "/var/tmp", "/dev/shm", "$HOME"] {
            let output = place.sh(
                &disk,
                tier,
                &format!("head -c 4000000 /dev/zero > {dir}/f; stat -c %s {dir}/f"),
            );
            let size: u64 = out(&output).trim().parse().unwrap();
            assert!(size <= 2 << 20, "{dir} took {size} bytes of a quarter of 8 MiB");
        }
        let twin = place.sh(
            "offline",
            tier,
            "head -c 4000000 /dev/zero > /tmp/f; stat -c %s /tmp/f",
        );
        assert_eq!(out(&twin).trim(), "4000000", "{}", err(&twin));
    });
}

#[test]
fn one_core_is_one_core() {
    let host = std::thread::available_parallelism().unwrap().get();
    if host < 2 {
        println!("skipped: a bound on cores: the host has one");
        return;
    }
    everywhere(|place, tier| {
        let one = place.policy("cpu.yaml", "resources:\n  cpu: 1");
        let text = "import os, sys, time\nend = time.time() + 2\nn = os.fork()\nwhile time.time() < end: pass\n\
                    t = os.times()\nif n == 0: os._exit(0)\nos.wait()\nt = os.times()\n\
                    print(t.user + t.system + t.children_user + t.children_system)\n";
        place.write("ws/spin.py", text);
        let used = |policy: &str| -> f64 {
            let output = place
                .run(policy, tier, &["/usr/bin/python3", "spin.py"])
                .output()
                .unwrap();
            out(&output)
                .trim()
                .parse()
                .unwrap_or_else(|_| panic!("{}", err(&output)))
        };
        // Two spinners for two seconds: a ratio to the time given, not an absolute speed.
        let bounded = used(&one);
        assert!(bounded < 2.6, "{bounded} s of processor time in 2 s on one core");
    });
}

#[test]
fn a_terminal_is_the_agents_own() {
    everywhere(|place, tier| {
        let inner = "test -t 0 && test -t 1 && echo TTY; tty; stty size; exit 5";
        let mut command = place.run("offline", tier, &["sh", "-c", inner]);
        // `script` gives qila a terminal; without one the same command has none.
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|w| format!("'{}'", w.to_str().unwrap()))
            .collect();
        let plain = command.output().unwrap();
        assert!(!out(&plain).contains("TTY"), "{}", out(&plain));
        let line = format!("stty rows 33 cols 77; {}", words.join(" "));
        let output = std::process::Command::new("script")
            .args(["-qec", &line, "/dev/null"])
            .current_dir(place.path("ws"))
            .env("QILA_HOME", place.path("state"))
            .env("HOME", place.path("home"))
            .env_remove("QILA_HOST")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = out(&output);
        assert!(
            text.contains("TTY") && text.contains("/dev/pts/0") && text.contains("33 77"),
            "{text}"
        );
        assert_eq!(output.status.code(), Some(5), "{text}");
    });
}

#[test]
fn every_built_in_policy_runs() {
    everywhere(|place, tier| {
        for policy in ["offline", "coding-agent", "code-interpreter", "web-research"] {
            let output = place.sh(policy, tier, "echo ran");
            assert_eq!(out(&output), "ran\n", "{policy}: {}", err(&output));
        }
    });
}

#[test]
fn what_cannot_be_enforced_is_refused_by_name() {
    everywhere(|place, tier| {
        let hard = place.write(
            "hard.yaml",
            "version: 1\nextends: offline\nresources:\n  disk: {hard: 1GiB}\n",
        );
        let output = place.sh(hard.to_str().unwrap(), tier, "echo ran");
        assert!(
            err(&output).contains("resources.disk") && !out(&output).contains("ran"),
            "{}",
            err(&output)
        );
    });
}

#[test]
fn bad_input_is_one_clear_error() {
    everywhere(|place, tier| {
        let wrong = place.write("wrong.yaml", "version: 1\nresorces:\n  memory: 1GiB\n");
        let output = place.sh(wrong.to_str().unwrap(), tier, "true");
        assert_eq!(output.status.code(), Some(125));
        assert!(
            err(&output).contains("resources") && err(&output).contains("wrong.yaml:2"),
            "{}",
            err(&output)
        );
        for args in [
            &["run", "--policy", "no-such.yaml", "--", "true"][..],
            &["run", "--policy", "offline", "--workspace", "/", "--", "true"],
            &[
                "run",
                "--policy",
                "offline",
                "--workspace",
                "/no/such/dir",
                "--",
                "true",
            ],
            &["kill", "0000"],
        ] {
            let output = place.qila(args).output().unwrap();
            assert!(!output.status.success(), "{args:?}");
            assert!(
                err(&output).contains("try:"),
                "{args:?} says what to do: {}",
                err(&output)
            );
        }
        let state = place.path("state");
        let state = state.to_str().unwrap();
        let output = place
            .qila(&["run", "--policy", "offline", "--workspace", state, "--", "true"])
            .output()
            .unwrap();
        assert!(err(&output).contains("overlap"), "{}", err(&output));
    });
}

#[test]
fn the_plan_is_printed_and_nothing_runs() {
    everywhere(|place, tier| {
        let args = [
            "run",
            "--plan",
            "--policy",
            "offline",
            "--isolation",
            tier,
            "--",
            "touch",
            "ran",
        ];
        let output = place.qila(&args).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan["tier"], tier);
        assert!(place.runs().is_empty());
    });
}
