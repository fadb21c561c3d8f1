//! Credentials that do not last: read anew when their time is over, taken away while the agent runs, never seen inside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
#[path = "common/agent.rs"]
mod agent;
mod common;
#[path = "common/outside.rs"]
mod outside;
#[path = "common/upstream.rs"]
mod upstream;
use agent::Agent;
use common::{Place, err, everywhere, out};
use outside::{KEY, POLICY, command};
use upstream::{Upstream, answer};

const ONCE: &str = "curl -sS -m 20 -w ' %{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.test/v1/a || echo";

/// An agent that asks once for each line that it is given, and writes the status and what came back.
fn agent(place: &Place, tier: &str, policy: &str, server: &Upstream) -> Agent {
    let script = format!("while read x; do {ONCE}; done");
    Agent::start(command(place, tier, policy, server, &script))
}

/// A policy whose key is in a file, to be read anew after a time.
fn lasting(place: &Place, ttl: &str) -> String {
    let file = place.write("key", "the-first-value-1");
    let source = format!("source: file:{}, ttl: {ttl},", file.display());
    POLICY.replace("source: env:REAL_KEY,", &source)
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
        let mut agent = agent(place, tier, POLICY, &server);
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
        // Who asked is written down each time, also where there was nothing to be done.
        assert_eq!(
            (count("revocation_asked"), log.matches("\"by_uid\":").count()),
            (3, 3),
            "{log}"
        );
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
        let policy = lasting(place, "1s");
        let mut agent = agent(place, tier, &policy, &server);
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
        std::fs::remove_file(place.path("key")).unwrap();
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

#[test]
fn a_key_that_is_revoked_is_not_read_anew() {
    everywhere(|place, tier| {
        let server = echo();
        let policy = lasting(place, "1s");
        let mut agent = agent(place, tier, &policy, &server);
        assert!(agent.ask().ends_with(" 200"));
        let revoked = place.qila(&["revoke", "latest"]).output().unwrap();
        assert!(revoked.status.success(), "{}", err(&revoked));
        let before = given(&server).len();
        // Longer than it takes to read it anew.
        for _ in 0..5 {
            let refused = agent.ask();
            assert!(
                refused.ends_with(" 403") && refused.contains("it was revoked"),
                "{refused}"
            );
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        assert_eq!(given(&server).len(), before);
        agent.end();
    });
}

#[test]
fn an_answer_under_way_ends_when_its_key_is_revoked() {
    const LINES: usize = 80;
    everywhere(|place, tier| {
        let server = Upstream::start(&["api.test", "plain.test"], |_, wire| {
            write!(wire, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 2 * LINES)?;
            for _ in 0..LINES {
                wire.write_all(b"x\n")?;
                wire.flush()?;
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            Ok(())
        });
        let fetch =
            |header: &str, file: &str| format!("curl -sN -m 60 {header} https://api.test/v1/a > {file} &");
        let script = format!(
            "{}\n{}\nwhile [ ! -s with ] || [ ! -s without ]; do sleep 0.05; done; echo begun; wait; wc -c < with; wc -c < without",
            fetch("-H \"Authorization: Bearer $API_KEY\"", "with"),
            fetch("", "without")
        );
        let mut agent = Agent::start(command(place, tier, POLICY, &server, &script));
        assert_eq!(agent.line(), "begun");
        let revoked = place.qila(&["revoke", "latest", "key"]).output().unwrap();
        assert!(revoked.status.success(), "{}", err(&revoked));
        let bytes: Vec<usize> = (0..2).map(|_| agent.line().trim().parse().unwrap()).collect();
        assert!(bytes[0] < 2 * LINES, "it went on to its end");
        assert_eq!(bytes[1], 2 * LINES, "what has no key was ended too");
        agent.end();
        let log = out(&place.qila(&["log", "latest"]).output().unwrap());
        assert_eq!(log.matches("its credential was revoked").count(), 1, "{log}");
    });
}

/// Processes that hold the path of a place in their arguments.
fn processes(place: &Place) -> usize {
    let name = place.path("").display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&name)
    })
    .count()
}

#[test]
fn who_reads_anew_is_gone_when_the_run_is() {
    everywhere(|place, tier| {
        let server = echo();
        let policy = lasting(place, "1h");
        for killed in [false, true] {
            let mut agent = agent(place, tier, &policy, &server);
            assert!(agent.ask().ends_with(" 200"));
            // qila, its gateway and who reads anew at least.
            assert!(processes(place) >= 3, "{}", processes(place));
            match killed {
                false => agent.end(),
                true => {
                    agent.child.kill().unwrap();
                    agent.child.wait().unwrap();
                }
            }
            let start = std::time::Instant::now();
            while processes(place) > 0 {
                assert!(start.elapsed().as_secs() < 20, "{} are left", processes(place));
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    });
}
