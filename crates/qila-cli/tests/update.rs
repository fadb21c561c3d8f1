//! Rules that change while an agent runs.
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
use outside::{POLICY, command};
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use upstream::{Upstream, answer};

fn update(place: &Place, policy: &str) -> Output {
    let file = place.policy("changed.yaml", policy);
    place
        .qila(&["update", "latest", "--policy", &file])
        .output()
        .unwrap()
}

#[test]
fn rules_widen_and_narrow_for_an_agent_at_work() {
    everywhere(|place, tier| {
        let server = Upstream::fixed(&["api.test", "plain.test"], "ok");
        let once = "for path in v1/a admin; do curl -sS -m 20 -o /dev/null -w '%{http_code} ' https://api.test/$path; done; echo";
        let script = format!("{once}; while read x; do {once}; done");
        let mut agent = Agent::start(command(place, tier, POLICY, &server, &script));
        assert_eq!(agent.line(), "200 403");
        for (paths, expected) in [
            ("'/**'", "200 200"),
            ("/admin", "403 200"),
            ("'/v1/**'", "200 403"),
        ] {
            let changed = update(place, &POLICY.replace("'/v1/**'", paths));
            assert!(changed.status.success(), "{}", err(&changed));
            assert_eq!(agent.ask(), expected, "{paths}");
        }
        let refused = update(place, &format!("resources: {{processes: 5}}\n{POLICY}"));
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            err(&refused).contains("`resources.processes` differs"),
            "{}",
            err(&refused)
        );
        assert_eq!(agent.ask(), "200 403");
        agent.end();
        let log = out(&place.qila(&["log", "latest"]).output().unwrap());
        assert_eq!(log.matches("  policy ").count(), 3, "{log}");
        let late = update(place, POLICY);
        assert!(!late.status.success());
    });
}

#[test]
fn what_is_no_longer_allowed_ends() {
    everywhere(|place, tier| {
        // An answer that goes on and on, a little at a time.
        let server = Upstream::start(&["api.test"], |_, wire| {
            write!(wire, "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
            for _ in 0..400 {
                wire.write_all(b"x\n")?;
                wire.flush()?;
                std::thread::sleep(Duration::from_millis(25));
            }
            Ok(())
        });
        let clear = Upstream::start(&[], |_, wire| {
            std::thread::sleep(Duration::from_secs(15));
            answer(wire, "200 OK", "", b"late")
        });
        let script = "curl -sSN -m 14 -o first https://api.test/v1/a & first=$!
            (exec 3<>/dev/tcp/plain.test/443; echo hello >&3; echo open; read -t 14 x <&3; echo closed $?)
            wait $first; echo $?";
        let policy = place.policy("policy.yaml", POLICY);
        let ca = place.write("ca.pem", &server.ca);
        let (api, plain) = (server.at("api.test"), clear.at("plain.test"));
        let args = [
            "run",
            "-q",
            "--policy",
            &policy,
            "--isolation",
            tier,
            "--upstream",
            &api,
            "--upstream",
            &plain,
            "--upstream-ca",
            ca.to_str().unwrap(),
            "--",
            "bash",
            "-c",
            script,
        ];
        let mut command = place.qila(&args);
        let mut child = command
            .env("REAL_KEY", outside::KEY)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        assert_eq!(line(), "open");
        while server.got().is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let before = Instant::now();
        let changed = update(
            place,
            &POLICY
                .replace("'/v1/**'", "/v2/a")
                .replace("    - plain.test\n", ""),
        );
        assert!(changed.status.success(), "{}", err(&changed));
        // Neither by the clock of curl nor by that of read.
        assert!(line().starts_with("closed "), "the connection");
        assert_ne!(line(), "28");
        assert!(before.elapsed() < Duration::from_secs(10));
        assert!(child.wait().unwrap().success());
        let log = out(&place.qila(&["log", "latest"]).output().unwrap());
        assert_eq!(log.matches("the policy was changed").count(), 2, "{log}");
    });
}
