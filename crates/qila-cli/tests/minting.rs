//! Credentials that a provider mints for one run: had at the launch and anew in time; what they are minted with never comes inside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a failure here is the test's"
)]
#[path = "common/agent.rs"]
mod agent;
mod common;
#[path = "common/minted.rs"]
mod minted;
#[path = "common/outside.rs"]
mod outside;
#[path = "common/provider.rs"]
mod provider;
#[path = "common/upstream.rs"]
mod upstream;
use agent::Agent;
use common::{Place, err, everywhere, out};
use minted::{
    ONCE, agent, app_key, command, count, echo, github, given, journals, log, oauth2, policy, until, vault,
};
use provider::{CLIENT, Provider, REFRESH, TOKEN};
use std::process::Command;
use std::time::{Duration, Instant};
use upstream::Upstream;

#[test]
fn what_a_provider_mints_is_used_and_taken_back() {
    let key = app_key();
    everywhere(|place, tier| {
        let (server, provider) = (echo(), Provider::start(&[]));
        let url = provider.url();
        for source in [vault(&url), oauth2(&url, false), oauth2(&url, true), github(&url)] {
            let (before, asked) = (provider.minted().len(), given(&server).len());
            let script = format!("env; {ONCE}");
            let done = command(place, tier, &policy(&source), &server, &script)
                .env("APP_KEY", &key)
                .output()
                .unwrap();
            let text = out(&done);
            assert!(done.status.success(), "{source}: {} {text}", err(&done));
            let minted = provider.minted();
            assert_eq!(minted.len(), before + 1, "{source}");
            let value = &minted[before];
            assert_eq!(given(&server)[asked..], [format!("Bearer {value}")], "{source}");
            assert!(
                text.ends_with(&format!("{} 200\n", "*".repeat(value.len()))),
                "{text}"
            );
            for secret in [TOKEN, CLIENT, REFRESH, value, key.lines().nth(1).unwrap()] {
                assert!(!text.contains(secret), "{source}: {secret}");
            }
            assert_eq!(provider.alive(), 0, "{source}");
            assert!(!log(place).contains(value.as_str()), "{}", log(place));
        }
        let log = log(place);
        assert_eq!(
            (count(&log, "lease_created"), count(&log, "lease_revoked")),
            (4, 4),
            "{log}"
        );
        assert_eq!(journals(place), Vec::<String>::new());
    });
}

#[test]
fn a_refresh_token_that_is_exchanged_serves_the_next_run() {
    everywhere(|place, tier| {
        let (server, provider) = (echo(), Provider::start(&[]));
        let policy = policy(&oauth2(&provider.url(), true));
        // Each run exchanges what the one before it was given: what the policy names is dead since the first.
        for n in 1..=3 {
            let done = command(place, tier, &policy, &server, ONCE).output().unwrap();
            assert!(done.status.success(), "{}", err(&done));
            assert_eq!(
                provider.books.lock().unwrap().refresh,
                format!("refresh-token-{n}")
            );
        }
        let kept = std::fs::read_dir(place.path("state/leases")).unwrap().flatten();
        for entry in kept {
            let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        }
    });
}

#[test]
fn a_value_that_does_not_last_is_minted_anew_in_time() {
    everywhere(|place, tier| {
        let (server, provider) = (echo(), Provider::start(&[]));
        provider.set(|books| books.life = 2);
        let mut agent = agent(place, tier, &policy(&vault(&provider.url())), &server);
        let start = Instant::now();
        while given(&server)
            .iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            < 3
        {
            let line = agent.ask();
            assert!(line.ends_with(" 200"), "{line}");
            assert!(start.elapsed() < Duration::from_secs(30), "it is not minted anew");
            std::thread::sleep(Duration::from_millis(100));
        }
        // What was replaced was taken back, at once.
        until("old ones are alive", || provider.alive() <= 1);
        agent.end();
        assert_eq!(provider.alive(), 0);
        let log = log(place);
        assert_eq!(
            count(&log, "lease_created"),
            count(&log, "lease_revoked"),
            "{log}"
        );
        assert!(count(&log, "lease_created") >= 3, "{log}");
        assert_eq!(count(&log, "lease_unrevoked"), 0, "{log}");
    });
}

#[test]
fn nothing_is_started_where_nothing_is_minted() {
    everywhere(|place, tier| {
        let (server, provider) = (echo(), Provider::start(&[]));
        provider.set(|books| books.refuses = true);
        let gone = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        for (url, why) in [
            (
                provider.url(),
                "Vault answers 403: permission denied; check the path, the token",
            ),
            (format!("http://{gone}"), "Connection refused"),
        ] {
            let done = command(place, tier, &policy(&vault(&url)), &server, "echo started")
                .output()
                .unwrap();
            assert_eq!((done.status.code(), out(&done).as_str()), (Some(125), ""));
            let said = err(&done);
            assert!(
                said.contains("the credential `key`") && said.contains(why),
                "{said}"
            );
            assert!(!said.contains(TOKEN), "{said}");
        }
        assert_eq!(journals(place), Vec::<String>::new());
        assert!(given(&server).is_empty());
    });
}

#[test]
fn keys_with_a_time_to_live_are_read_anew() {
    everywhere(|place, tier| {
        let server = echo();
        let file = place.write("secret", "the-first-secret-of-aws");
        let source = format!(
            "{{aws: {{access_key_id: env:VAULT_TOKEN, secret_access_key: 'file:{}', region: eu-central-1, service: s3}}}}",
            file.display()
        );
        let policy = policy(&source)
            .replace("placement: bearer", "ttl: 1s, placement: sigv4")
            .replace("env: [API_KEY]", "env: [API_KEY, AWS_SECRET]");
        let once = "curl -sS -m 20 -o /dev/null -w '%{http_code}\\n' --aws-sigv4 aws:amz:eu-central-1:s3 --user \"$API_KEY:$AWS_SECRET\" https://api.test/a || echo";
        let script = format!("while read x; do {once}; done");
        let mut agent = Agent::start(command(place, tier, &policy, &server, &script));
        assert_eq!(agent.ask(), "200");
        // It cannot be read any more: out of force when its time is over, and in force again once it can.
        std::fs::remove_file(&file).unwrap();
        let start = Instant::now();
        while agent.ask() != "403" {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "it is in force for ever"
            );
        }
        let new = place.write("secret.new", "another-secret-of-aws-22");
        std::fs::rename(new, &file).unwrap();
        while agent.ask() != "200" {
            assert!(start.elapsed() < Duration::from_secs(60), "it does not come back");
        }
        agent.end();
    });
}

#[test]
fn a_value_that_is_kept_at_a_provider_is_used_and_left_there() {
    everywhere(|place, tier| {
        let (server, provider) = (echo(), Provider::start(&[]));
        let source = vault(&provider.url())
            .replace("database/creds/reader", "secret/data/key")
            .replace("password", "key");
        let done = command(place, tier, &policy(&source), &server, ONCE)
            .output()
            .unwrap();
        assert!(out(&done).ends_with(" 200\n"), "{} {}", out(&done), err(&done));
        assert_eq!(given(&server), ["Bearer a-value-kept-in-vault"]);
        let log = log(place);
        let both = (count(&log, "lease_created"), count(&log, "lease_revoked"));
        assert_eq!((both, journals(place).len()), ((1, 1), 0), "{log}");
    });
}

/// `qila run` of a script with a provider that has a name and a certificate.
fn by_name(place: &Place, server: &Upstream, provider: &Provider, known: bool) -> Command {
    let policy = place.policy("policy.yaml", &policy(&vault("https://vault.test")));
    let (mine, theirs) = (
        place.write("ca.pem", &server.ca),
        place.write("vault.pem", &provider.server.ca),
    );
    let (api, at) = (server.at("api.test"), provider.server.at("vault.test"));
    let mut args = vec![
        "run",
        "-q",
        "--policy",
        &policy,
        "--upstream",
        &api,
        "--upstream",
        &at,
    ];
    args.extend(["--upstream-ca", mine.to_str().unwrap()]);
    if known {
        args.extend(["--upstream-ca", theirs.to_str().unwrap()]);
    }
    args.extend(["--", "sh", "-c", ONCE]);
    let mut command = place.qila(&args);
    command.env("VAULT_TOKEN", TOKEN);
    command
}

#[test]
fn a_provider_is_who_its_certificate_says() {
    everywhere(|place, _| {
        let (server, provider) = (echo(), Provider::start(&["vault.test"]));
        let done = by_name(place, &server, &provider, false).output().unwrap();
        assert_eq!(done.status.code(), Some(125));
        assert!(err(&done).contains("TLS with vault.test: "), "{}", err(&done));
        assert!(provider.server.got().is_empty());
        let done = by_name(place, &server, &provider, true).output().unwrap();
        assert!(out(&done).ends_with(" 200\n"), "{} {}", out(&done), err(&done));
        assert_eq!((provider.minted().len(), provider.alive()), (1, 0));
    });
}
