//! Runs whose key is minted by a provider.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
use crate::agent::Agent;
use crate::common::{Place, out};
use crate::outside;
use crate::provider::{CLIENT, REFRESH, TOKEN};
use crate::upstream::{Upstream, answer};
use std::process::Command;
use std::time::{Duration, Instant};

pub const ONCE: &str = "curl -sS -m 20 -w ' %{http_code}\\n' -H \"Authorization: Bearer $API_KEY\" https://api.test/v1/a || echo";

pub fn vault(url: &str) -> String {
    format!(
        "{{vault: {{address: '{url}', path: database/creds/reader, field: password, token: env:VAULT_TOKEN}}}}"
    )
}

pub fn oauth2(url: &str, refresh: bool) -> String {
    let rest = match refresh {
        true => "refresh_token: env:REFRESH_TOKEN",
        false => "client_secret: env:CLIENT_SECRET",
    };
    format!(
        "{{oauth2: {{token_url: '{url}/oauth/token', client_id: qila, revoke_url: '{url}/oauth/revoke', {rest}}}}}"
    )
}

pub fn github(url: &str) -> String {
    format!("{{github_app: {{app_id: 5, installation_id: 7, private_key: env:APP_KEY, api: '{url}'}}}}")
}

pub fn policy(source: &str) -> String {
    format!(
        "network: {{allow: [{{host: api.test, methods: [GET], credential: key}}]}}
credentials:
  key: {{source: {source}, placement: bearer, hosts: [api.test], env: [API_KEY]}}"
    )
}

/// A server that says back the key that it was given.
pub fn echo() -> Upstream {
    Upstream::start(&["api.test", "plain.test"], |request, wire| {
        let key = request.header("authorization").unwrap_or_default();
        answer(wire, "200 OK", "", key.as_bytes())
    })
}

pub fn given(server: &Upstream) -> Vec<String> {
    let got = server.got();
    got.iter()
        .filter_map(|r| r.header("authorization").map(str::to_owned))
        .collect()
}

/// The private key of an App that exists nowhere.
pub fn app_key() -> String {
    let made = Command::new("openssl").args(["genrsa", "2048"]).output().unwrap();
    String::from_utf8(made.stdout).unwrap()
}

pub fn command(place: &Place, tier: &str, policy: &str, server: &Upstream, script: &str) -> Command {
    let mut command = outside::command(place, tier, policy, server, script);
    command
        .env("VAULT_TOKEN", TOKEN)
        .env("CLIENT_SECRET", CLIENT)
        .env("REFRESH_TOKEN", REFRESH);
    command
}

/// An agent that asks once for each line that it is given, and writes the status and what came back.
pub fn agent(place: &Place, tier: &str, policy: &str, server: &Upstream) -> Agent {
    let script = format!("while read x; do {ONCE}; done");
    Agent::start(command(place, tier, policy, server, &script))
}

/// All that was recorded here.
pub fn log(place: &Place) -> String {
    out(&place.qila(&["log", "--json"]).output().unwrap())
}

pub fn count(log: &str, kind: &str) -> usize {
    log.matches(&format!("\"{kind}\"")).count()
}

/// Journals that are left.
pub fn journals(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path("state/leases"));
    let names = entries.into_iter().flatten().flatten();
    names
        .map(|e| e.file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("refresh-"))
        .collect()
}

pub fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
