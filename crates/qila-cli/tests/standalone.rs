//! The gateway alone, used by programs that are in no sandbox.
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
use common::{Place, everybody, out};
use outside::{KEY, POLICY};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use upstream::Upstream;

struct Running {
    child: Child,
    environment: Vec<(String, String)>,
}

impl Running {
    fn start(place: &Place, tls: &Upstream, clear: &Upstream) -> Running {
        let policy = place.policy("policy.yaml", POLICY);
        let ca = place.write("ca.pem", &tls.ca);
        let (api, other) = (tls.at("api.test"), clear.at("clear.test"));
        let args = [
            "gateway",
            "--json",
            "--policy",
            &policy,
            "--upstream",
            &api,
            "--upstream",
            &other,
            "--upstream-ca",
            ca.to_str().unwrap(),
        ];
        let mut command = place.qila(&args);
        let mut child = command
            .env("REAL_KEY", KEY)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let environment = said["environment"].as_object().unwrap().iter();
        let environment = environment
            .map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()))
            .collect();
        Running { child, environment }
    }

    fn get(&self, name: &str) -> &str {
        &self.environment.iter().find(|(n, _)| n == name).unwrap().1
    }

    /// Curl with this environment: what it wrote, and the status.
    fn curl(&self, change: &[(&str, &str)], args: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.envs(self.environment.iter().map(|(n, v)| (n, v)));
        command.envs(change.iter().copied());
        let fixed = ["-sS", "-m", "20", "-w", "\n%{http_code} %{http_connect}"];
        out(&command.args(fixed).args(args).output().unwrap())
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_program_with_its_environment_is_served_and_nobody_else() {
    for who in everybody() {
        let place = Place::new(who);
        let tls = Upstream::fixed(&["api.test"], "ok");
        let clear = Upstream::fixed(&[], "clear");
        let mut running = Running::start(&place, &tls, &clear);
        let bearer = format!("Authorization: Bearer {}", running.get("API_KEY"));
        assert!(!running.environment.iter().any(|(_, v)| v.contains(KEY)));
        assert_eq!(
            running.curl(&[], &["-H", &bearer, "https://api.test/v1/a"]),
            "ok\n200 200"
        );
        assert_eq!(running.curl(&[], &["http://clear.test/"]), "clear\n200 000");
        assert!(
            running
                .curl(&[], &["https://api.test/admin"])
                .ends_with("\n403 200")
        );
        assert!(running.curl(&[], &["https://evil.test/"]).ends_with("000 403"));
        // Without the password nothing is answered, by tunnel or by URL.
        let url = running.get("https_proxy").to_owned();
        let at = url.rsplit('@').next().unwrap();
        for stranger in [format!("http://{at}"), format!("http://qila:wrong@{at}")] {
            let change = [
                ("https_proxy", stranger.as_str()),
                ("http_proxy", stranger.as_str()),
            ];
            let drop_upper = [("HTTPS_PROXY", ""), ("HTTP_PROXY", "")];
            let change = [&change[..], &drop_upper[..]].concat();
            assert!(
                running
                    .curl(&change, &["https://api.test/v1/a"])
                    .ends_with("000 407")
            );
            assert!(
                running
                    .curl(&change, &["http://clear.test/"])
                    .ends_with("\n407 000")
            );
        }
        assert_eq!(tls.got().len(), 1);
        assert_eq!(
            tls.got()[0].header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
        assert_eq!(clear.got().len(), 1);
        assert_eq!(clear.got()[0].header("proxy-authorization"), None);
        // Its policy is read again.
        place.policy("policy.yaml", &POLICY.replace("'/v1/**'", "/admin"));
        running.signal("-HUP");
        let changed = (0..100).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(30));
            running
                .curl(&[], &["https://api.test/admin"])
                .ends_with("\n200 200")
        });
        assert!(
            changed
                && running
                    .curl(&[], &["https://api.test/v1/a"])
                    .ends_with("\n403 200")
        );
        let bundle = running.get("SSL_CERT_FILE").to_owned();
        assert!(std::path::Path::new(&bundle).exists());
        running.signal("-TERM");
        assert!(running.child.wait().unwrap().success());
        assert!(!std::path::Path::new(&bundle).exists());
        let log = out(&place.qila(&["log"]).output().unwrap());
        for expected in [
            "gateway    listens  on 127.0.0.1:",
            "gateway    ended",
            "policy",
            "qila gateway",
            "lease",
        ] {
            assert!(log.contains(expected), "{expected}: {log}");
        }
        assert!(!log.contains(KEY), "{log}");
    }
}

#[test]
fn what_a_gateway_that_is_killed_has_left_is_taken_back() {
    for who in everybody() {
        let place = Place::new(who);
        let (tls, clear) = (
            Upstream::fixed(&["api.test"], "ok"),
            Upstream::fixed(&[], "clear"),
        );
        let mut running = Running::start(&place, &tls, &clear);
        let left = || std::fs::read_dir(place.path("state/gateways")).unwrap().count();
        let next = || {
            let policy = place.policy("none.yaml", "");
            let done = place.sh(&policy, "process", "true");
            assert!(done.status.success(), "{}", common::err(&done));
        };
        // One that lives is left alone.
        next();
        assert_eq!(left(), 1);
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        assert_eq!(left(), 1);
        next();
        assert_eq!(left(), 0);
        let log = out(&place.qila(&["log", "--json"]).output().unwrap());
        for kind in ["lease_created", "lease_revoked", "gateway_ended", "reclaimed"] {
            assert_eq!(log.matches(&format!("\"{kind}\"")).count(), 1, "{kind}: {log}");
        }
    }
}
