//! No policy exceeds the constitution.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_policy::model::HostPattern;
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
            PermitError::Host { .. } => panic!("{error}"),
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
