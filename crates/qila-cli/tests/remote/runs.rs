//! Runs: what they print and how they end, signals, terminals.
use crate::common::{err, out};
use crate::daemon::{Daemon, code, signal, wait};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_run_there_is_as_one_here() {
    let daemon = Daemon::start();
    let sh = |script: &str| daemon.done(&["run", "--", "sh", "-c", script]);
    let done = sh("echo out; echo err >&2; exit 3");
    assert_eq!((code(&done), out(&done).as_str()), (3, "out\n"), "{}", err(&done));
    let said = err(&done);
    assert!(said.starts_with("err\nqila: run "), "{said}");
    assert!(said.contains(" · exit 3 · "), "{said}");
    assert_eq!(code(&sh("kill -9 $$")), 137);
    assert_eq!(code(&sh("kill -TERM $$")), 143);
    let missing = daemon.done(&["run", "-q", "--", "no-such-program"]);
    assert_eq!(code(&missing), 127, "{}", err(&missing));
    let not_one = daemon.done(&["run", "-q", "--", "/etc/passwd"]);
    assert_eq!(code(&not_one), 126, "{}", err(&not_one));
    let quiet = daemon.done(&["run", "-q", "-e", "A=b c", "--", "sh", "-c", "echo $A"]);
    assert_eq!((out(&quiet).as_str(), err(&quiet).as_str()), ("b c\n", ""));

    let late = daemon.done(&["run", "--timeout", "300ms", "--", "sleep", "60"]);
    assert_eq!(code(&late), 124, "{}", err(&late));
    assert!(err(&late).starts_with("qila: stopped: "), "{}", err(&late));

    let done = daemon.done(&["run", "--json", "--", "sh", "-c", "printf 12345; exit 4"]);
    let value: Value = serde_json::from_str(err(&done).trim()).unwrap();
    assert_eq!(
        (value["exit"].as_u64(), value["output_bytes"].as_u64()),
        (Some(4), Some(5)),
        "{value}"
    );
    assert!(
        value["run"].is_string() && value["tier"].is_string() && value["wall_ms"].is_u64(),
        "{value}"
    );
    daemon.is_empty();

    // Much, both ways at once, and to a reader that goes away.
    let mut child = daemon
        .qila(&["run", "-q", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n % 251) as u8).collect();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || to.write_all(&bytes).unwrap());
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert_eq!(wait(&mut child, Duration::from_secs(20)), 0);
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    let mut child = daemon
        .qila(&["run", "-q", "--", "yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(wait(&mut child, Duration::from_secs(20)), 141);
    daemon.is_empty();
}

#[test]
fn signals_and_terminals_reach_the_program() {
    let daemon = Daemon::start();
    for (number, name, expected) in [
        (rustix::process::Signal::TERM, "TERM", 7),
        (rustix::process::Signal::INT, "INT", 7),
        (rustix::process::Signal::HUP, "HUP", 7),
    ] {
        let script =
            format!("trap 'echo got; exit {expected}' {name}; echo up; while :; do sleep 0.05; done");
        let mut child = daemon
            .qila(&["run", "-q", "--", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "up");
        signal(&child, number);
        assert_eq!(lines.next().unwrap().unwrap(), "got");
        assert_eq!(wait(&mut child, Duration::from_secs(10)), expected);
    }
    // One that does not care ends by it.
    let mut child = daemon
        .qila(&["run", "-q", "--", "sh", "-c", "echo up; exec sleep 60"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    signal(&child, rustix::process::Signal::TERM);
    assert_eq!(wait(&mut child, Duration::from_secs(10)), 143);
    daemon.is_empty();

    // At any moment of its beginning, too: nothing may stay.
    for ms in [0, 5, 15, 30, 60, 120] {
        let mut child = daemon
            .qila(&["run", "-q", "--", "sleep", "60"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(ms));
        signal(&child, rustix::process::Signal::TERM);
        let ended = wait(&mut child, Duration::from_secs(15));
        // -1: the signal came before anything was begun.
        assert!(ended == 143 || ended == -1, "after {ms} ms: {ended}");
    }
    daemon.is_empty();

    if !Path::new("/usr/bin/script").exists() {
        println!("skipped: terminals: there is no `script`");
        return;
    }
    let program = daemon.place.path("qila");
    let line = format!(
        "stty rows 33 cols 77; {} run -q -- sh -c 'stty size; tty; read x; echo [$x]'; echo ended $?",
        program.display()
    );
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("QILA_HOST", daemon.url())
        .env("QILA_API_KEY", &daemon.key)
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("/dev/pts/") {
        assert!(from.read_line(&mut said).unwrap() > 0, "{said}");
    }
    to.write_all(b"typed\r").unwrap();
    while !said.contains("ended") {
        assert!(from.read_line(&mut said).unwrap() > 0, "{said}");
    }
    drop(to);
    assert!(
        said.contains("33 77") && said.contains("[typed]") && said.contains("ended 0"),
        "{said}"
    );
    wait(&mut child, Duration::from_secs(10));
    daemon.is_empty();
}
