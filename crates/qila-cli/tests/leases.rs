//! Credentials that do not last: read anew when their time is over, taken away while the agent runs, never seen inside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "common/outside.rs"]
mod outside;
#[path = "common/upstream.rs"]
mod upstream;
use common::{Place, err, everywhere, out};
use outside::{KEY, POLICY, command};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use upstream::{Upstream, answer};

/// An agent that asks once for each line that it is given, and writes the status and what came back.
struct Agent {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

const ONCE: &str = "curl -sS -m 20 -w ' %{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.test/v1/a || echo";

impl Agent {
    fn start(place: &Place, tier: &str, policy: &str, server: &Upstream) -> Agent {
        let script = format!("while read x; do {ONCE}; done");
        let mut child = command(place, tier, policy, server, &script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Agent { child, lines }
    }

    fn ask(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// A server that says back the key that it was given.
fn echo() -> Upstream {
    Upstream::start(&["api.test", "plain.test"], |request, wire| {
        let key = request.header("authorization").unwrap_or_default();
        answer(wire, "200 OK", "", key.as_bytes())
    })
}

fn given(server: &Upstream) -> Vec<String> {
    let got = server.got();
    got.iter()
        .filter_map(|r| r.header("authorization").map(str::to_owned))
        .collect()
}

#[test]
fn a_key_that_is_revoked_is_placed_no_more() {
    everywhere(|place, tier| {
        let server = echo();
        let mut agent = Agent::start(place, tier, POLICY, &server);
        assert_eq!(agent.ask(), format!("Bearer {} 200", "*".repeat(KEY.len())));
        let unknown = place.qila(&["revoke", "latest", "other"]).output().unwrap();
        assert_eq!(unknown.status.code(), Some(1));
        assert!(
            err(&unknown).contains("no credential `other`; it has: key"),
            "{}",
            err(&unknown)
        );
        assert!(agent.ask().ends_with(" 200"));
        for _ in 0..2 {
            let revoked = place.qila(&["revoke", "latest", "key"]).output().unwrap();
            assert!(revoked.status.success(), "{}", err(&revoked));
        }
        let refused = agent.ask();
        assert!(
            refused.ends_with(" 403") && refused.contains("it was revoked"),
            "{refused}"
        );
        agent.end();
        assert_eq!(given(&server), vec![format!("Bearer {KEY}"); 2]);
        let log = out(&place.qila(&["log", "latest", "--json"]).output().unwrap());
        let count = |kind: &str| log.matches(&format!("\"{kind}\"")).count();
        assert_eq!((count("lease_created"), count("lease_revoked")), (1, 1), "{log}");
    });
}

/// Never half written for who reads it.
fn put(place: &Place, value: &str) {
    let new = place.write("key.new", value);
    std::fs::rename(new, place.path("key")).unwrap();
}

#[test]
fn a_key_with_a_time_to_live_is_read_anew() {
    everywhere(|place, tier| {
        let server = echo();
        let file = place.write("key", "the-first-value-1");
        let source = format!("source: file:{}, ttl: 1s,", file.display());
        let policy = POLICY.replace("source: env:REAL_KEY,", &source);
        let mut agent = Agent::start(place, tier, &policy, &server);
        assert!(agent.ask().ends_with(" 200"));
        put(place, "another-value-22");
        let stars = |text: &str| "*".repeat(text.len());
        loop {
            let line = agent.ask();
            // Whichever it is, the agent does not see it.
            assert!(
                line == format!("Bearer {} 200", stars("the-first-value-1"))
                    || line == format!("Bearer {} 200", stars("another-value-22")),
                "{line}"
            );
            if given(&server).last().unwrap() == "Bearer another-value-22" {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        // What cannot be read any more is over when its time is.
        std::fs::remove_file(&file).unwrap();
        let last = loop {
            let line = agent.ask();
            if !line.ends_with(" 200") {
                break line;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        assert!(
            last.ends_with(" 403") && last.contains("its time is over"),
            "{last}"
        );
        assert!(!last.contains("another-value"), "{last}");
        // And in force again once it can.
        put(place, "a-third-value-333");
        while !agent.ask().ends_with(" 200") {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert_eq!(given(&server).last().unwrap(), "Bearer a-third-value-333");
        agent.end();
    });
}
