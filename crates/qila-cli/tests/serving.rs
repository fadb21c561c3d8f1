//! `qila serve` from outside: the first start, keys, a sandbox's life, the end and what lives on after it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod common;
#[path = "common/serve.rs"]
mod serve;

use common::{Place, Who, err, everybody, out};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Child;
use std::time::{Duration, Instant};

/// A server that runs, and what its first start printed.
struct Serving {
    child: Child,
    address: String,
    exports: Vec<String>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn start(place: &Place, more: &[&str], exports: usize) -> Serving {
        let args = [&["--listen", "127.0.0.1:0"], more].concat();
        let (mut child, url) = serve::start(place, &args);
        let address = url.strip_prefix("http://").unwrap().to_owned();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines().take(exports);
        let exports = printed.map(Result::unwrap).collect();
        Serving {
            child,
            address,
            exports,
        }
    }

    /// The first key, in its native form.
    fn key(&self) -> String {
        let line = self
            .exports
            .iter()
            .find_map(|l| l.strip_prefix("export E2B_API_KEY=e2b_"));
        format!("qila_{}", line.unwrap())
    }

    fn ask(&self, key: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let n = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {n}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn terminate(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_sandbox_outlives_the_server_and_is_taken_up_again() {
    for who in everybody() {
        let place = Place::new(who);
        let server = Serving::start(&place, &[], 3);
        assert!(
            server.exports[0].starts_with("export E2B_API_URL=http://127.0.0.1:"),
            "{:?}",
            server.exports
        );
        let key = server.key();
        assert_eq!(server.ask("qila_0", "GET", "/v1/sandboxes", "").0, 401);
        let (status, made) = server.ask(&key, "POST", "/v1/sandboxes", "{}");
        if who == Who::Nobody && status == 422 {
            println!("skipped: sandboxes of an unprivileged user: {made}");
            continue;
        }
        assert_eq!(status, 201, "{made}");
        let at = format!("/v1/sandboxes/{}", made["id"].as_str().unwrap());
        let write = r#"{"shell": "echo kept > f; echo done"}"#;
        let (status, said) = server.ask(&key, "POST", &format!("{at}/exec"), write);
        assert_eq!((status, said["stdout"].as_str()), (200, Some("done\n")), "{said}");

        // Two on one directory: the second says so and leaves the first alone.
        let second = place
            .qila(&["serve", "--listen", "127.0.0.1:0"])
            .output()
            .unwrap();
        assert!(!second.status.success());
        assert!(err(&second).starts_with("qila: "), "{}", err(&second));
        assert_eq!(server.ask(&key, "GET", &at, "").0, 200);

        // Once in order, once not.
        assert!(server.terminate().success());
        for _ in 0..2 {
            let server = Serving::start(&place, &[], 0);
            let (status, said) = server.ask(&key, "POST", &format!("{at}/exec"), r#"{"argv": ["cat", "f"]}"#);
            assert_eq!((status, said["stdout"].as_str()), (200, Some("kept\n")), "{said}");
        }
        let server = Serving::start(&place, &[], 0);
        assert_eq!(server.ask(&key, "DELETE", &at, "").0, 204);
        assert_eq!(server.ask(&key, "GET", &at, "").0, 404);
        assert!(server.terminate().success());
    }
}

#[test]
fn keys_and_tenants_are_looked_after_beside_a_running_server() {
    let place = Place::new(Who::Me);
    let qila = |args: &[&str]| {
        let output = place.qila(args).output().unwrap();
        (output.status.code().unwrap(), out(&output), err(&output))
    };
    let server = Serving::start(&place, &[], 3);
    let list = |key: &str| server.ask(key, "GET", "/v1/sandboxes", "").0;
    assert_eq!(
        qila(&["tenant", "new", "team", "--sandboxes", "1", "--memory", "2GiB"]).0,
        0
    );
    assert_eq!(qila(&["tenant", "new", "team"]).0, 1);
    assert_eq!(qila(&["tenant", "quota", "team", "--cpu", "1.5"]).0, 0);
    let (_, tenants, _) = qila(&["tenant", "list", "--json"]);
    let team: Value = serde_json::from_str(tenants.lines().nth(1).unwrap()).unwrap();
    let expected = serde_json::json!({
        "tenant": "team", "sandboxes": 1, "cpu_milli": 1500, "memory_mib": 2048, "disk_mib": null, "weight": 100,
    });
    assert_eq!(team, expected);
    let (code, made, _) = qila(&[
        "key",
        "new",
        "--tenant",
        "team",
        "--name",
        "ci",
        "--expires",
        "1h",
        "--json",
    ]);
    assert_eq!(code, 0);
    let made: Value = serde_json::from_str(&made).unwrap();
    let key = made["key"].as_str().unwrap();
    assert_eq!(list(key), 200);
    assert_eq!(list(made["e2b_key"].as_str().unwrap()), 200, "the same key");
    assert_eq!(server.ask(key, "GET", "/v1/keys", "").0, 403);
    let (_, keys, _) = qila(&["key", "list"]);
    assert!(keys.contains("ci") && !keys.contains(key), "{keys}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(qila(&["key", "revoke", id]).0, 0);
    assert_eq!(list(key), 401, "at once");
    assert_eq!(qila(&["key", "revoke", id]).0, 1);
    assert_eq!(qila(&["tenant", "remove", "team"]).0, 0);
    let (code, _, said) = qila(&["key", "new", "--tenant", "team"]);
    assert_eq!(code, 125);
    assert!(said.contains("no tenant `team`"), "{said}");
    assert_eq!(qila(&["tenant", "new", "Bad Name"]).0, 2);
}

#[test]
fn what_others_could_read_along_is_refused() {
    let place = Place::new(Who::Me);
    let refused = place.qila(&["serve", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(err(&refused).contains("--insecure"), "{}", err(&refused));
    // The key of a start that never served is not that of the next.
    let server = Serving::start(&place, &[], 3);
    assert_eq!(server.ask(&server.key(), "GET", "/v1/sandboxes", "").0, 200);
    let half = place.qila(&["serve", "--tls-cert", "x"]).output().unwrap();
    assert!(!half.status.success());
}
