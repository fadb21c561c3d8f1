//! No policy exceeds the constitution.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_policy::model::{HostPattern, TraceContent};
use qila_policy::{Constitution, NoFiles, Permit, PermitError, Policy, parse};
use qila_types::{Bytes, Cpus, Millis};

fn policy(lines: &str) -> Policy {
    parse("policy.yaml", &format!("version: 1\n{lines}\n"), &mut NoFiles).unwrap()
}

#[test]
fn ceilings_hold() {
    let constitution = Constitution {
        max_memory: Some(Bytes(2 << 30)),
        max_cpu: Some(Cpus(2_000)),
        max_processes: Some(100),
        max_wall_time: Some(Millis(60_000)),
        max_disk: Some(Bytes(1 << 30)),
        forbid_hosts: vec![
            HostPattern::parse("*.evil.org").unwrap(),
            HostPattern::parse("10.0.0.0/8").unwrap(),
        ],
        ..Constitution::default()
    };
    let good = "resources: {memory: 2GiB, cpu: 2, processes: 100, wall_time: 1m, disk: 1GiB}";
    assert!(Permit::grant(policy(good), &constitution).is_ok());
    for (from, to, clause) in [
        ("memory: 2GiB", "memory: 3GiB", "resources.memory"),
        ("cpu: 2", "cpu: 2001m", "resources.cpu"),
        ("processes: 100", "processes: 101", "resources.processes"),
        ("wall_time: 1m", "wall_time: 61s", "resources.wall_time"),
        ("disk: 1GiB", "disk: {hard: 2GiB}", "resources.disk"),
        ("memory: 2GiB, ", "", "resources.memory"),
    ] {
        let error = Permit::grant(policy(&good.replace(from, to)), &constitution).unwrap_err();
        match error {
            PermitError::Ceiling { clause: c, .. } | PermitError::Unlimited { clause: c, .. } => {
                assert_eq!(c.as_str(), clause)
            }
            _ => panic!("{error}"),
        }
    }
    for (host, allowed) in [
        ("good.org", true),
        ("evil.org", true),
        ("a.evil.org", false),
        ("\"*.evil.org\"", false),
        ("\"*.b.evil.org\"", false),
        ("10.1.0.0/16", false),
        ("0.0.0.0/0", false),
        ("192.0.2.1", true),
    ] {
        let text = format!("{good}\nnetwork: {{allow: [{host}]}}");
        assert_eq!(
            Permit::grant(policy(&text), &constitution).is_ok(),
            allowed,
            "{host}"
        );
    }
    assert!(Permit::grant(policy(""), &Constitution::default()).is_ok());
}

#[test]
fn rules_only_narrow_and_budgets_only_shrink() {
    let ceiling = policy(
        "network: {allow: [{host: \"*.a.org\", methods: [GET, POST], body: 1MiB}, b.org]}\nbudgets: [{money: 5 USD}, {requests: 100, per: agent, window: 1d}]",
    );
    let constitution = Constitution {
        max_allow: Some(ceiling.network.allow),
        max_budgets: ceiling.budgets,
        max_ttl: Some(Millis(900_000)),
        max_traces: Some(TraceContent::Hash),
        ..Constitution::default()
    };
    let budgets = "budgets: [{money: 4 USD}, {requests: 100, per: agent}]";
    for (lines, expected) in [
        (
            "network: {allow: [{host: x.a.org, methods: [GET], body: 1KiB}, b.org]}",
            "",
        ),
        (
            "network: {allow: [{host: x.a.org, methods: [GET], graphql: {}}]}",
            "",
        ),
        ("traces: {content: none}", ""),
        (
            "network: {allow: [b.org, {host: x.a.org, methods: [GET]}]}",
            "network.allow[1]: the rule for `x.a.org`",
        ),
        (
            "network: {allow: [{host: x.a.org, methods: [PUT], body: 1KiB}]}",
            "network.allow[0]",
        ),
        ("network: {allow: [c.org]}", "network.allow[0]"),
        ("traces: {content: keep}", "traces: the policy asks for keep"),
        (
            "credentials: {k: {source: env:K, placement: bearer, hosts: [b.org]}}\nnetwork: {allow: [{host: b.org, credential: k}]}",
            "network.allow[0]",
        ),
    ] {
        let granted = Permit::grant(policy(&format!("{lines}\n{budgets}")), &constitution);
        match granted {
            Ok(_) => assert!(expected.is_empty(), "{lines}"),
            Err(e) => assert!(
                !expected.is_empty() && e.to_string().contains(expected),
                "{lines}: {e}"
            ),
        }
    }
    for (budgets, expected) in [
        (
            "budgets: [{money: 5 USD}, {requests: 100, per: agent, window: 1d}]",
            "",
        ),
        (
            "budgets: [{money: 5.01 USD}, {requests: 100, per: agent}]",
            "5 USD per run",
        ),
        ("budgets: [{money: 5 USD}]", "100 requests per agent in 1d"),
        (
            "budgets: [{money: 5 USD}, {requests: 100}]",
            "100 requests per agent",
        ),
        ("", "5 USD per run"),
    ] {
        match Permit::grant(policy(budgets), &constitution) {
            Ok(_) => assert!(expected.is_empty(), "{budgets}"),
            Err(e) => assert!(
                !expected.is_empty() && e.to_string().contains(expected),
                "{budgets}: {e}"
            ),
        }
    }
    let lease = |ttl: &str| {
        let text = format!(
            "credentials: {{k: {{source: env:K, placement: bearer, hosts: [a.org]{ttl}}}}}\nnetwork: {{allow: [{{host: a.org, credential: k}}]}}"
        );
        let constitution = Constitution {
            max_ttl: Some(Millis(900_000)),
            ..Constitution::default()
        };
        Permit::grant(policy(&text), &constitution)
    };
    assert!(lease(", ttl: 15m").is_ok());
    for ttl in [", ttl: 16m", ""] {
        assert!(matches!(lease(ttl), Err(PermitError::Ttl { .. })), "{ttl}");
    }
}
