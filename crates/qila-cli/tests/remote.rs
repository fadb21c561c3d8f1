//! `qila --host` against a real `qila serve`: runs, copies, lives of sandboxes, ports, refusals, and a daemon that goes away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod common;

use common::{Place, Who, err, out};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A daemon, the place it has, and its first key.
struct Daemon {
    place: Place,
    child: Child,
    address: String,
    key: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(place: &Place, listen: &str) -> (Child, String) {
    serve_with(place, &["--listen", listen])
}

fn serve_with(place: &Place, args: &[&str]) -> (Child, String) {
    let mut child = place
        .qila(&[&["serve"], args].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    let address = loop {
        let Some(Ok(line)) = lines.next() else {
            panic!("it did not start: {seen:?}")
        };
        match line.split_once("serving at http") {
            Some((_, address)) => break address.trim_start_matches(['s', ':', '/']).to_owned(),
            None => seen.push(line),
        }
    };
    // Read to the end, or it would wait for us.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

impl Daemon {
    fn start() -> Daemon {
        let place = Place::new(Who::Me);
        let (child, address) = serve(&place, "127.0.0.1:0");
        Daemon::of(place, child, address)
    }

    /// One that was started, for the first time in its place.
    fn of(place: Place, mut child: Child, address: String) -> Daemon {
        let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let key = loop {
            let line = printed.next().unwrap().unwrap();
            if let Some(key) = line.strip_prefix("export E2B_API_KEY=") {
                break key.to_owned();
            }
        };
        Daemon {
            place,
            child,
            address,
            key,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `qila` for this daemon.
    fn qila(&self, args: &[&str]) -> Command {
        let mut command = self.place.qila(args);
        command
            .env("QILA_HOST", self.url())
            .env("QILA_API_KEY", &self.key);
        command
    }

    fn done(&self, args: &[&str]) -> Output {
        self.qila(args).output().unwrap()
    }

    /// What it prints; it must succeed.
    fn said(&self, args: &[&str]) -> String {
        let done = self.done(args);
        assert!(done.status.success(), "{args:?}: {}", err(&done));
        out(&done).trim_end().to_owned()
    }

    /// As JSON, one value a line.
    fn json(&self, args: &[&str]) -> Vec<Value> {
        let said = self.said(args);
        said.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    fn create(&self) -> String {
        self.said(&["sandbox", "create"])
    }

    /// Nothing is left on it; what is being ended has a moment.
    fn is_empty(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.said(&["ps", "--json"]);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind: {left}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn code(done: &Output) -> i32 {
    done.status.code().unwrap()
}

fn wait(child: &mut Child, most: Duration) -> i32 {
    let end = Instant::now() + most;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

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

#[test]
fn files_go_both_ways_and_nowhere_else() {
    let daemon = Daemon::start();
    let id = daemon.create();
    let at = |path: &str| format!("{id}:{path}");
    let here = daemon.place.path("ws");
    std::fs::create_dir_all(here.join("src/deep/er")).unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 253) as u8).collect();
    std::fs::write(here.join("src/big"), &big).unwrap();
    std::fs::write(here.join("src/deep/er/ü & %41?#"), "odd").unwrap();
    std::fs::write(here.join("src/run.sh"), "#!/bin/sh\necho ran\n").unwrap();
    std::fs::set_permissions(here.join("src/run.sh"), PermissionsExt::from_mode(0o750)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", here.join("src/link")).unwrap();

    let done = daemon.done(&["sandbox", "cp", "--json", "src", &at("")]);
    assert_eq!(code(&done), 0, "{}", err(&done));
    assert!(err(&done).contains("left out: src/link"), "{}", err(&done));
    let copied: Value = serde_json::from_str(&out(&done)).unwrap();
    assert_eq!(copied["files"], 3, "{copied}");
    assert_eq!(daemon.said(&["sandbox", "exec", &id, "--", "src/run.sh"]), "ran");
    assert!(!daemon.said(&["sandbox", "ls", &at("src")]).contains("link"));
    // Into what is there; as what is not; only the content.
    daemon.said(&["sandbox", "cp", "src/run.sh", &at("src/deep")]);
    daemon.said(&["sandbox", "cp", "src/run.sh", &at("other")]);
    daemon.said(&["sandbox", "cp", "src/deep/.", &at("flat")]);
    daemon.said(&[
        "sandbox",
        "exec",
        &id,
        "--",
        "test",
        "-x",
        "src/deep/run.sh",
        "-a",
        "-x",
        "other",
        "-a",
        "-d",
        "flat/er",
    ]);

    daemon.said(&["sandbox", "cp", &at("src"), "back"]);
    assert!(std::fs::read(here.join("back/big")).unwrap() == big);
    assert_eq!(
        std::fs::read_to_string(here.join("back/deep/er/ü & %41?#")).unwrap(),
        "odd"
    );
    let mode = here.join("back/run.sh").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
    daemon.said(&["sandbox", "cp", &at("src/big"), "one"]);
    assert!(std::fs::read(here.join("one")).unwrap() == big);

    // A link that lies here leads nobody out; one that lies there is left out.
    std::fs::create_dir_all(here.join("trap/back")).unwrap();
    std::fs::create_dir(here.join("outside")).unwrap();
    std::os::unix::fs::symlink(here.join("outside"), here.join("trap/back/deep")).unwrap();
    let script = "mkdir -p t/back/deep; echo bad > t/back/deep/bad; ln -s /etc/passwd t/back/pass";
    daemon.said(&["sandbox", "exec", &id, "--", "sh", "-c", script]);
    let done = daemon.done(&["sandbox", "cp", &at("t/back/."), "trap/back"]);
    assert_ne!(code(&done), 0);
    assert!(err(&done).contains("no directory"), "{}", err(&done));
    assert!(!here.join("outside/bad").exists());
    assert!(!here.join("trap/back/pass").exists());

    for (args, what) in [
        ([&at("none")[..], "x"], "none"),
        (["none", &at("x")], "none"),
        (["a", "b"], "ID:PATH"),
        (["src", "zzzz:x"], "no sandbox"),
    ] {
        let done = daemon.done(&["sandbox", "cp", args[0], args[1]]);
        assert!(
            code(&done) != 0 && err(&done).contains(what),
            "{args:?}: {}",
            err(&done)
        );
    }
    // Nothing half-made is left here.
    let odd = Command::new("find")
        .arg(&here)
        .args(["-name", ".*qila-*"])
        .output()
        .unwrap();
    assert_eq!(out(&odd), "");

    // A run with the files of a directory.
    let done = daemon.done(&["run", "-q", "--upload", "src", "--", "sh", "run.sh"]);
    assert_eq!(out(&done), "ran\n", "{}", err(&done));
    daemon.said(&["sandbox", "kill", &id]);
    daemon.is_empty();
}

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
    let mut child = daemon
        .qila(&["sandbox", "exec", &id, "--json", "--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"me\n").unwrap();
    let done = child.wait_with_output().unwrap();
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

fn http(port: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(port).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "{head}connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_port_is_reached_through_loopback() {
    let daemon = Daemon::start();
    let id = daemon.create();
    // Answers with what it was asked; becomes an echo where an upgrade is wanted.
    let program = r#"
import socket, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', 8000)); s.listen()
def one(c):
    head = b''
    while b'\r\n\r\n' not in head: head += c.recv(4096)
    if b'upgrade: echo' in head.lower():
        c.sendall(b'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n')
        while True:
            data = c.recv(4096)
            if not data: break
            c.sendall(data.upper())
    else:
        c.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n' % len(head) + head)
    c.close()
while True: threading.Thread(target=one, args=(s.accept()[0],)).start()
"#;
    daemon.said(&["sandbox", "exec", &id, "--detach", "--", "python3", "-c", program]);
    let mut child = daemon
        .qila(&["sandbox", "port-forward", &id, "0:8000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line
        .strip_prefix("http://")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert!(line.trim_end().ends_with(&format!("-> {id}:8000")), "{line}");
    let end = Instant::now() + Duration::from_secs(15);
    let answer = loop {
        let head = "GET /a?b=c HTTP/1.1\r\nhost: localhost\r\nx-mine: 1\r\nqila-sandbox: other\r\nqila-port: 1\r\n\
                    e2b-sandbox-id: other\r\nx-api-key: stolen\r\n";
        let answer = http(&port, head);
        if answer.starts_with("HTTP/1.1 200") || Instant::now() > end {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(
        answer.contains("GET /a?b=c HTTP/1.1") && answer.contains("x-mine: 1"),
        "{answer}"
    );
    for never in ["stolen", &daemon.key, "qila-sandbox", "other"] {
        assert!(!answer.contains(never), "{never}: {answer}");
    }
    // A page whose name was made to lead here.
    let answer = http(&port, "GET / HTTP/1.1\r\nhost: evil.example\r\n");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    // Both ways, as a WebSocket would.
    let mut stream = TcpStream::connect(&port).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    for _ in 0..3 {
        stream.write_all(b"hello").unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"HELLO");
    }
    drop(stream);
    // It is for a loopback address alone, and ends when it is told to.
    let number = port.rsplit_once(':').unwrap().1;
    assert_eq!(port, format!("127.0.0.1:{number}"));
    signal(&child, rustix::process::Signal::INT);
    assert_eq!(wait(&mut child, Duration::from_secs(10)), 0);
    assert!(TcpStream::connect(&port).is_err());
    daemon.said(&["kill", &id]);
    daemon.is_empty();
}

#[test]
fn templates_and_policies_are_the_daemons() {
    let daemon = Daemon::start();
    let policy = daemon
        .place
        .write("ws/policy.yaml", "version: 1\nextends: offline\n");
    let policy = policy.to_str().unwrap();
    assert_eq!(
        daemon.said(&[
            "template",
            "put",
            "mine",
            "--policy",
            policy,
            "--name",
            "alias",
            "--start",
            "echo hi > started"
        ]),
        "mine"
    );
    let list = daemon.json(&["template", "list", "--json"]);
    assert!(
        list.iter().any(|t| t["id"] == "mine" && t["state"] == "ready"),
        "{list:?}"
    );
    assert!(daemon.said(&["template", "list"]).contains("alias"));
    assert!(
        daemon
            .said(&["template", "show", "alias"])
            .contains("extends: offline")
    );
    let done = daemon.done(&[
        "run",
        "-q",
        "--template",
        "alias",
        "--",
        "sh",
        "-c",
        "until test -s started; do sleep 0.05; done; cat started",
    ]);
    assert_eq!(out(&done), "hi\n", "{}", err(&done));
    daemon.said(&["template", "remove", "mine"]);
    for args in [["template", "show", "mine"], ["template", "remove", "mine"]] {
        assert_ne!(code(&daemon.done(&args)), 0, "{args:?}");
    }
    let done = daemon.done(&["run", "-q", "--template", "mine", "--", "true"]);
    assert_eq!(code(&done), 125, "{}", err(&done));

    // The same words for the same policies, here and there.
    let wrong = daemon.place.write(
        "ws/wrong.yaml",
        "version: 1\nextends: offline\nlimits:\n  memroy: 1GiB\n",
    );
    for (policy, expected) in [(policy, 0), ("coding-agent", 0), (wrong.to_str().unwrap(), 1)] {
        for more in [&[][..], &["--json"]] {
            let args = [&["policy", "check", policy], more].concat();
            let (there, here) = (daemon.done(&args), daemon.place.qila(&args).output().unwrap());
            assert_eq!(code(&there), expected, "{}", err(&there));
            assert_eq!(
                (code(&here), out(&here), err(&here)),
                (code(&there), out(&there), err(&there))
            );
        }
    }
    daemon.is_empty();
}

#[test]
fn what_cannot_be_says_what_to_do() {
    let daemon = Daemon::start();
    let fails = |done: Output, expected: i32, words: &[&str]| {
        let said = err(&done);
        assert_eq!(code(&done), expected, "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    };
    let wrong = |key: &str| {
        daemon
            .qila(&["run", "--", "true"])
            .env("QILA_API_KEY", key)
            .output()
            .unwrap()
    };
    fails(wrong("qila_00"), 125, &["does not know this key", "qila key new"]);
    fails(wrong(""), 2, &["no key", "QILA_API_KEY", "--key-file"]);
    // From a file.
    let file = daemon.place.write("key", &format!("{}\n", daemon.key));
    let args = [
        "--key-file",
        file.to_str().unwrap(),
        "run",
        "-q",
        "--",
        "echo",
        "by file",
    ];
    let done = daemon
        .qila(&args)
        .env("QILA_API_KEY", "qila_00")
        .output()
        .unwrap();
    assert_eq!(out(&done), "by file\n", "{}", err(&done));
    // Nobody there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = daemon
        .qila(&["ps"])
        .env("QILA_HOST", format!("http://{closed}"))
        .output()
        .unwrap();
    fails(nobody, 125, &["cannot be reached", "qila serve"]);
    // Somebody else there.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\nnginx\n");
    });
    let somebody = daemon
        .qila(&["ps"])
        .env("QILA_HOST", format!("http://{address}"))
        .output()
        .unwrap();
    fails(somebody, 125, &["404", "qila serve", "version"]);
    answering.join().unwrap();
    // In the clear.
    let clear = daemon
        .qila(&["ps"])
        .env("QILA_HOST", "http://192.0.2.1:3000")
        .output()
        .unwrap();
    fails(clear, 2, &["in the clear", "https://"]);
    // What is for this host alone.
    let plan: [&[&str]; 7] = [
        &["--direct"],
        &["--plan"],
        &["--isolation", "process"],
        &["--policy", "offline"],
        &["--agent", "x"],
        &["--allow-unenforced", "limits.disk"],
        &["--upstream-ca", "x"],
    ];
    for option in plan {
        let args = [&["run"], option, &["--", "true"]].concat();
        fails(daemon.done(&args), 2, &[option[0], "try: "]);
    }
    fails(daemon.done(&["diff", "latest"]), 2, &["this host only"]);
    // And what is for daemons alone.
    let place = Place::new(Who::Me);
    for option in [
        &["-e", "A=b"][..],
        &["--timeout", "1s"],
        &["--keep"],
        &["--template", "x"],
    ] {
        let args = [&["run"], option, &["--", "true"]].concat();
        fails(place.qila(&args).output().unwrap(), 2, &["daemon", "--host"]);
    }
    for args in [&["sandbox", "list"][..], &["template", "list"]] {
        fails(place.qila(args).output().unwrap(), 2, &["--host", "QILA_HOST"]);
    }
    // What never asks a daemon does not mind that there is one.
    let done = place
        .qila(&["policy", "list"])
        .env("QILA_HOST", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(code(&done), 0, "{}", err(&done));
    daemon.is_empty();
}

#[test]
fn with_tls_only_who_is_vouched_for_is_told_the_key() {
    let place = Place::new(Who::Me);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = place.write("cert.pem", &made.cert.pem());
    let key = place.write("key.pem", &made.signing_key.serialize_pem());
    let [cert, key] = [cert.to_str().unwrap(), key.to_str().unwrap()];
    let (child, address) = serve_with(
        &place,
        &["--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key],
    );
    let daemon = Daemon::of(place, child, address);
    let port = daemon.address.rsplit_once(':').unwrap().1;
    let url = format!("https://localhost:{port}");
    let args = [
        "--host",
        &url,
        "--host-ca",
        cert,
        "run",
        "-q",
        "--",
        "sh",
        "-c",
        "cat; exit 3",
    ];
    let mut child = daemon
        .qila(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"over TLS").unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(
        (code(&done), out(&done).as_str()),
        (3, "over TLS"),
        "{}",
        err(&done)
    );
    for (url, more) in [
        (&url, &[][..]),
        (&format!("https://127.0.0.1:{port}"), &["--host-ca", cert]),
    ] {
        let args = [&["--host", url], more, &["ps"]].concat();
        let done = daemon.done(&args);
        assert_eq!(code(&done), 125);
        assert!(
            err(&done).contains("cannot be reached") && err(&done).contains("--host-ca"),
            "{}",
            err(&done)
        );
    }
}

#[test]
fn a_daemon_that_goes_away_is_told_of_and_found_again() {
    let mut daemon = Daemon::start();
    let mut child = daemon
        .qila(&["run", "--", "sh", "-c", "echo up; exec sleep 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert_eq!(wait(&mut child, Duration::from_secs(20)), 125);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(
        said.contains("the daemon went away") && said.contains("qila kill "),
        "{said}"
    );
    // The next daemon has what the run left, by the name that was told.
    let (next, address) = serve(&daemon.place, &daemon.address);
    daemon.child = next;
    assert_eq!(address, daemon.address);
    let id = said
        .split("qila kill ")
        .nth(1)
        .unwrap()
        .trim_end_matches(['`', '\n'])
        .to_owned();
    assert!(daemon.said(&["ps"]).contains(&id));
    daemon.said(&["kill", &id]);
    daemon.is_empty();
    // One that is told to end while a command runs.
    let mut child = daemon
        .qila(&["run", "--", "sh", "-c", "echo up; exec sleep 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    signal(&daemon.child, rustix::process::Signal::TERM);
    assert_eq!(wait(&mut child, Duration::from_secs(20)), 125);
}
