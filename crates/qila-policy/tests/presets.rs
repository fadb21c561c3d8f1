//! The built-in policies: right, small in what they ask, and as their snapshots say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_policy::explain::sentences;
use qila_policy::model::WorkspaceMode;
use qila_policy::{ClauseId, NoFiles, Policy, canonical, parse, preset};
use std::collections::BTreeSet;

fn built_in(name: &str) -> Policy {
    let preset = preset::find(name).unwrap();
    match parse(name, preset.text, &mut NoFiles) {
        Ok(policy) => policy,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn each_asks_only_for_what_an_unprivileged_user_gets() {
    for preset in preset::PRESETS {
        let policy = built_in(preset.name);
        let r = &policy.resources;
        assert!(policy.isolation.is_none(), "{}", preset.name);
        assert!(r.disk_read.is_none() && r.disk_write.is_none(), "{}", preset.name);
        assert!(
            !policy.is_hard(ClauseId::Memory) && !policy.is_hard(ClauseId::Disk),
            "{}",
            preset.name
        );
        assert!(r.cpu.is_none_or(|c| c.0.is_multiple_of(1_000)), "{}", preset.name);
        // The hard limit that stock distributions leave a user with is at least this.
        assert!(r.open_files.is_none_or(|n| n <= 4096), "{}", preset.name);
        assert!(r.memory.is_some() && r.processes.is_some() && r.disk.is_some() && r.wall_time.is_some());
        assert_eq!(policy.filesystem.workspace, WorkspaceMode::Layer);
        assert!(policy.filesystem.write.is_empty());
        assert!(policy.credentials.iter().all(|c| c.optional), "{}", preset.name);
        for secret in ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"] {
            assert!(
                policy.filesystem.hide.iter().any(|h| h.0 == secret),
                "{}: {secret}",
                preset.name
            );
        }
    }
    assert!(!built_in("offline").needs_gateway());
}

#[test]
fn each_reads_the_same_when_extended_by_an_empty_file() {
    for preset in preset::PRESETS {
        let text = format!("version: 1\nextends: {}\n", preset.name);
        let over = parse("policy.yaml", &text, &mut NoFiles).unwrap();
        assert_eq!(canonical(&over), canonical(&built_in(preset.name)));
    }
}

#[test]
fn each_is_the_same_read_and_ready_made() {
    for preset in preset::PRESETS {
        assert_eq!(
            preset::policy(preset.name).unwrap().unwrap(),
            built_in(preset.name),
            "{}",
            preset.name
        );
    }
    assert!(preset::policy("ofline").is_none());
}

#[test]
fn explanations_are_as_committed() {
    for preset in preset::PRESETS {
        let text: String = sentences(&built_in(preset.name))
            .iter()
            .map(|c| format!("{} {}: {}\n", if c.can { '+' } else { '-' }, c.clause, c.text))
            .collect();
        insta::assert_snapshot!(format!("explain-{}", preset.name), text);
    }
}

#[test]
fn what_a_rule_asks_is_explained() {
    let text = r#"version: 1
network:
  allow:
    - host: api.openai.com
      methods: [POST]
      paths: ["/v1/**"]
      query: {stream: "true", page: "[0-9]*"}
      headers: {content-type: "application/json*"}
      body: 4MiB
      when: 'context.query has page &&
        context.query.page != "13"'
      rate: {limit: 60/min, burst: 10}
    - {host: "*.github.com", graphql: {operations: [query, mutation], fields: [repository, "create*"]}}
    - host: mcp.example.org
      mcp:
        methods: [initialize, "notifications/*", tools/list, tools/call]
        tools: {search: {}, "read_*": {path: "/data/*"}}
        server: ["notifications/*", sampling/createMessage]
    - {host: mcp.example.net, mcp: {}}
    - {host: s3.eu-central-1.amazonaws.com, credential: s3}
    - {host: api.github.com, credential: gh}
  rates: {connections: 100/s, requests: {limit: 1000/min, burst: 50}, download: {limit: 10MiB/s, burst: 1MiB}}
credentials:
  s3: {source: {aws: {access_key_id: env:A, secret_access_key: env:B, region: eu-central-1, service: s3}}, placement: sigv4, hosts: [s3.eu-central-1.amazonaws.com]}
  gh: {source: {github_app: {app_id: 1, installation_id: 2, private_key: file:/etc/key.pem}}, placement: bearer, hosts: [api.github.com], ttl: 15m}
budgets:
  - {money: 5 USD}
  - {tokens: 1000000, per: agent, window: 1d}
  - {requests: 500, host: api.openai.com, window: 1h}
  - {bytes: 1GiB, per: host}
traces: {content: none}
"#;
    let policy = parse("policy.yaml", text, &mut NoFiles).unwrap();
    let text: String = sentences(&policy)
        .iter()
        .map(|c| format!("{} {}: {}\n", if c.can { '+' } else { '-' }, c.clause, c.text))
        .collect();
    insta::assert_snapshot!("explain-everything", text);
    insta::assert_snapshot!("cedar-everything", qila_policy::cedar::whole(&policy));
}

#[test]
fn every_clause_in_force_is_explained() {
    let text = "version: 1\nbudgets: [{money: 5 USD}]\ntraces: {content: keep}\nisolation: container\nresources: {disk_io: {read: 1MiB/s}}\nfilesystem: {write: [/srv/x], base: {directory: /r}}\nnetwork: {loopback: false, rates: {upload: 1MiB/s}}\nsyscalls: {base: strict, allow: [ptrace], deny: [kexec_load]}\nextends: coding-agent\n";
    let mut policies: Vec<Policy> = preset::PRESETS.iter().map(|p| built_in(p.name)).collect();
    policies.push(parse("policy.yaml", text, &mut NoFiles).unwrap());
    for policy in policies {
        let said: BTreeSet<ClauseId> = sentences(&policy).iter().map(|c| c.clause).collect();
        for clause in policy.clauses() {
            assert!(said.contains(&clause), "{clause}");
        }
    }
}

#[test]
fn an_absent_optional_credential_takes_its_rules_with_it() {
    let all: BTreeSet<String> = built_in("coding-agent")
        .credentials
        .iter()
        .map(|c| c.name.clone())
        .collect();
    let absent: BTreeSet<String> = all.iter().filter(|n| *n != "openai").cloned().collect();
    let policy = built_in("coding-agent").without_credentials(&absent).unwrap();
    let hosts: Vec<String> = policy.network.allow.iter().map(|r| r.host.to_string()).collect();
    assert!(hosts.contains(&"api.openai.com".to_owned()) && hosts.contains(&"pypi.org".to_owned()));
    assert!(!hosts.contains(&"api.anthropic.com".to_owned()));
    assert_eq!(policy.credentials.len(), 1);

    let needed = "version: 1\ncredentials: {a: {source: env:A, placement: bearer, hosts: [a.org]}}\nnetwork: {allow: [{host: a.org, credential: a}]}\n";
    let policy = parse("policy.yaml", needed, &mut NoFiles).unwrap();
    let error = policy
        .without_credentials(&BTreeSet::from(["a".to_owned()]))
        .unwrap_err();
    assert_eq!(error.name, "a");
    assert!(error.to_string().contains("variable A"), "{error}");
}
