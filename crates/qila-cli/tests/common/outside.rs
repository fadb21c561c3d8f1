//! Runs whose names lead to one real server on loopback.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
use crate::common::Place;
use crate::upstream::Upstream;
use std::process::{Command, Output};

pub const KEY: &str = "sk-real-0a1b2c3d4e5f-the-value";

pub const POLICY: &str = "network:
  allow:
    - {host: api.test, methods: [GET, POST], paths: ['/v1/**'], credential: key}
    - plain.test
    - {host: clear.test, port: 80}
credentials:
  key: {source: env:REAL_KEY, placement: bearer, hosts: [api.test], env: [API_KEY]}";

/// `qila run` of a script under [`POLICY`], every name of it leading to one server.
pub fn command(place: &Place, tier: &str, policy: &str, server: &Upstream, script: &str) -> Command {
    let policy = place.policy("policy.yaml", policy);
    let ca = place.write("ca.pem", &server.ca);
    let ups = ["api.test", "plain.test", "clear.test"].map(|n| server.at(n));
    let mut args = vec!["run", "-q", "--policy", &policy, "--isolation", tier];
    ups.iter().for_each(|up| args.extend(["--upstream", up]));
    if !server.ca.is_empty() {
        args.extend(["--upstream-ca", ca.to_str().unwrap()]);
    }
    args.extend(["--", "sh", "-c", script]);
    let mut command = place.qila(&args);
    command.env("REAL_KEY", KEY);
    command
}

pub fn sh(place: &Place, tier: &str, server: &Upstream, script: &str) -> Output {
    command(place, tier, POLICY, server, script).output().unwrap()
}

/// Curl that ends, and says its status alone on the last line.
pub const CURL: &str = "curl -sS -m 20 -w '\\n%{http_code}\\n'";
