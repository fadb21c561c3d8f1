//! What providers have minted is taken back: at the end, on demand, and after a crash.
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
use common::{Place, err, everywhere, out};
use minted::{ONCE, agent, command, count, echo, given, journals, log, oauth2, policy, until, vault};
use provider::{CLIENT, Provider};
use std::process::Command;

#[test]
fn what_is_minted_is_taken_back_on_demand() {
    everywhere(|place, tier| {
        let (server, provider) = (echo(), Provider::start(&[]));
        let mut agent = agent(place, tier, &policy(&oauth2(&provider.url(), false)), &server);
        assert!(agent.ask().ends_with(" 200"));
        assert_eq!(provider.alive(), 1);
        let revoked = place.qila(&["revoke", "latest", "key"]).output().unwrap();
        assert!(revoked.status.success(), "{}", err(&revoked));
        assert_eq!(provider.alive(), 0);
        let refused = agent.ask();
        assert!(
            refused.ends_with(" 403") && refused.contains("it was revoked"),
            "{refused}"
        );
        agent.end();
        let log = log(place);
        assert_eq!(
            (count(&log, "lease_created"), count(&log, "lease_revoked")),
            (1, 1),
            "{log}"
        );
        assert_eq!(provider.minted().len(), 1);
    });
}

#[test]
fn what_is_not_taken_back_is_said_and_tried_again() {
    everywhere(|place, tier| {
        let (server, provider) = (echo(), Provider::start(&[]));
        let policy = policy(&vault(&provider.url()));
        provider.set(|books| books.deaf = true);
        let done = command(place, tier, &policy, &server, ONCE).output().unwrap();
        let said = err(&done);
        assert!(
            done.status.success() && said.contains("NOT REVOKED: key: Vault answers 503"),
            "{said}"
        );
        assert_eq!((provider.alive(), journals(place).len()), (1, 1));
        let once = log(place);
        assert_eq!(
            (count(&once, "lease_unrevoked"), count(&once, "lease_revoked")),
            (1, 0),
            "{once}"
        );
        let run = journals(place).remove(0);
        let refused = place.qila(&["revoke", &run]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            out(&refused).contains("key: NOT REVOKED: Vault answers 503"),
            "{}",
            out(&refused)
        );
        provider.set(|books| books.deaf = false);
        let done = place.qila(&["revoke", &run]).output().unwrap();
        assert_eq!(
            (done.status.success(), out(&done).as_str()),
            (true, "key: revoked\n"),
            "{}",
            err(&done)
        );
        assert_eq!((provider.alive(), journals(place).len()), (0, 0));
        assert_eq!(count(&log(place), "lease_revoked"), 1, "{}", log(place));
    });
}

/// Processes that hold the path of a place in their arguments.
fn processes(place: &Place) -> Vec<u32> {
    let name = place.path("").display().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&name)
    })
    .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    .collect()
}

/// Kills all of them before one of them can do anything about it.
fn kill(pids: &[u32]) {
    for signal in ["-STOP", "-KILL"] {
        let pids = pids.iter().map(ToString::to_string);
        let _ = Command::new("kill")
            .arg(signal)
            .args(pids)
            .stderr(std::process::Stdio::null())
            .status();
    }
}

#[test]
fn a_run_that_is_killed_leaves_nothing_at_its_provider() {
    everywhere(|place, tier| {
        let (server, provider) = (echo(), Provider::start(&[]));
        let policy = policy(&vault(&provider.url()));
        // The launcher alone: whoever minted takes back by itself. Everything at once: the next start does.
        for all in [false, true] {
            let before = log(place);
            let mut agent = agent(place, tier, &policy, &server);
            assert!(agent.ask().ends_with(" 200"));
            assert_eq!((provider.alive(), journals(place).len()), (1, 1));
            match all {
                true => kill(&processes(place)),
                false => kill(&[agent.child.id()]),
            }
            agent.child.wait().unwrap();
            until("somebody is left", || processes(place).is_empty());
            assert_eq!(provider.alive(), usize::from(all));
            let other = place.policy("none.yaml", "");
            let next = place.sh(&other, tier, "true");
            assert!(next.status.success(), "{}", err(&next));
            until("it is not taken back", || {
                provider.alive() == 0 && journals(place).is_empty()
            });
            let (log, kinds) = (log(place), ["lease_created", "lease_revoked", "lease_unrevoked"]);
            let more: Vec<usize> = kinds.iter().map(|k| count(&log, k) - count(&before, k)).collect();
            assert_eq!(more, [1, 1, 0], "{log}");
        }
        let verified = place.qila(&["audit", "verify"]).output().unwrap();
        assert!(verified.status.success(), "{}", out(&verified));
    });
}

#[test]
fn a_gateway_alone_takes_back_what_it_minted() {
    for who in common::everybody() {
        let (place, server, provider) = (Place::new(who), echo(), Provider::start(&[]));
        let policy = place.policy("policy.yaml", &policy(&oauth2(&provider.url(), false)));
        let (ca, api) = (place.write("ca.pem", &server.ca), server.at("api.test"));
        let args = [
            "gateway",
            "--json",
            "--policy",
            &policy,
            "--upstream",
            &api,
            "--upstream-ca",
            ca.to_str().unwrap(),
        ];
        let mut child = place
            .qila(&args)
            .env("CLIENT_SECRET", CLIENT)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let variables = said["environment"].as_object().unwrap().iter();
        let mut curl = Command::new("curl");
        curl.envs(variables.map(|(n, v)| (n, v.as_str().unwrap())));
        let bearer = format!(
            "Authorization: Bearer {}",
            said["environment"]["API_KEY"].as_str().unwrap()
        );
        let done = curl.args([
            "-sS",
            "-m",
            "20",
            "-w",
            " %{http_code}",
            "-H",
            &bearer,
            "https://api.test/v1/a",
        ]);
        let done = done.output().unwrap();
        assert!(out(&done).ends_with(" 200"), "{} {}", out(&done), err(&done));
        assert_eq!(given(&server), [format!("Bearer {}", provider.minted()[0])]);
        assert_eq!(provider.alive(), 1);
        let told = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        assert!(told.unwrap().success() && child.wait().unwrap().success());
        assert_eq!((provider.alive(), journals(&place).len()), (0, 0));
    }
}
