//! `extends`: order, merging, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_policy::model::{Placement, SyscallBase};
use qila_policy::{LoadError, Loaded, Origin, Policy, PolicyError, PolicySource, parse};
use qila_types::Tier;
use std::collections::BTreeMap;

/// Files by name; a reference is the name.
struct Files(BTreeMap<String, String>);

impl PolicySource for Files {
    fn load(&mut self, reference: &str, _: &Origin) -> Result<Loaded, LoadError> {
        let text = self.0.get(reference).cloned().ok_or(LoadError::NotFound)?;
        Ok(Loaded {
            name: reference.to_owned(),
            text,
        })
    }
}

fn read(files: &[(&str, &str)]) -> Result<Policy, PolicyError> {
    let map = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), format!("version: 1\n{text}\n")));
    let mut files = Files(map.collect());
    let text = files.0.get("./main.yaml").unwrap().clone();
    parse("./main.yaml", &text, &mut files)
}

fn refusal(files: &[(&str, &str)]) -> String {
    read(files).unwrap_err().to_string()
}

#[test]
fn scalars_override_lists_append_maps_merge() {
    let policy = read(&[
        ("./main.yaml", "extends: [./a.yaml, ./b.yaml]\nresources: {cpu: 4}\nfilesystem: {hide: [/c], read: [/r]}\nisolation: auto"),
        ("./a.yaml", "isolation: process\nresources: {cpu: 1, memory: {hard: 1GiB}}\nfilesystem: {hide: [/a, /b]}\nsyscalls: {deny: [ptrace]}\nenvironment: {pass: [A], set: {X: 1, Y: 1}}"),
        ("./b.yaml", "resources: {memory: 2GiB, processes: 7}\nfilesystem: {hide: [/b], workspace: read_only}\nsyscalls: strict\nenvironment: {pass: [B], set: {Y: 2}}"),
    ])
    .unwrap();
    assert_eq!(policy.isolation, None::<Tier>);
    let r = &policy.resources;
    assert_eq!((r.cpu.unwrap().0, r.processes), (4_000, Some(7)));
    assert!(!r.memory.unwrap().hard, "a limit overrides as a whole");
    let hide: Vec<&str> = policy.filesystem.hide.iter().map(|p| p.0.as_str()).collect();
    assert_eq!(hide, ["/a", "/b", "/c"]);
    assert_eq!(
        (policy.syscalls.base, policy.syscalls.deny.len()),
        (SyscallBase::Strict, 1)
    );
    assert_eq!(policy.environment.pass, ["A", "B"]);
    assert_eq!(
        policy.environment.set.into_iter().collect::<Vec<_>>(),
        [("X".into(), "1".into()), ("Y".into(), "2".into())]
    );
}

#[test]
fn a_credential_is_redefined_by_key() {
    let policy = read(&[
        ("./main.yaml", "extends: ./a.yaml\ncredentials: {k: {source: env:MINE, placement: {header: x-key}, hosts: [a.org]}}"),
        ("./a.yaml", "credentials: {k: {source: {command: [key, --print]}, placement: {query: k}, hosts: [a.org], env: [K]}}\nnetwork: {allow: [{host: a.org, credential: k}]}"),
    ])
    .unwrap();
    let [k] = policy.credentials.as_slice() else {
        panic!()
    };
    assert_eq!(k.source.to_string(), "variable MINE");
    assert_eq!(k.placement, Placement::Header("x-key".to_owned()).into());
    assert_eq!((k.hosts.len(), k.env.len()), (1, 1));
}

#[test]
fn budgets_add_up_and_a_rate_overrides_as_a_whole() {
    let policy = read(&[
        ("./main.yaml", "extends: ./a.yaml\nbudgets: [{requests: 9}, {money: 5 USD}]\nnetwork: {rates: {requests: {limit: 5/s}, upload: 1MiB/s}}\ntraces: {content: keep}"),
        ("./a.yaml", "budgets: [{money: 5 USD}, {tokens: 1k, per: agent}]\nnetwork: {rates: {requests: {limit: 60/min, burst: 3}, upload: {limit: 2MiB/s, burst: 9MiB}, download: 3MiB/s}}\ntraces: {content: none}"),
    ])
    .unwrap();
    let budgets: Vec<String> = policy.budgets.iter().map(ToString::to_string).collect();
    // What is extended comes first, and what is said twice counts once.
    assert_eq!(
        budgets,
        ["5 USD per run", "1000 tokens per agent", "9 requests per run"]
    );
    let rates = policy.network.rates;
    assert_eq!(
        rates.requests.unwrap().to_string(),
        "5/s",
        "the burst went with its limit"
    );
    assert_eq!(rates.upload.unwrap().to_string(), "1MiB/s");
    assert_eq!(rates.download.unwrap().to_string(), "3MiB/s");
    assert_eq!(policy.traces.content.as_str(), "keep");
}

#[test]
fn a_minted_credential_is_redefined_whole() {
    let policy = read(&[
        ("./main.yaml", "extends: ./a.yaml\ncredentials: {k: {source: env:MINE, placement: bearer, hosts: [a.org], ttl: 5m}}"),
        ("./a.yaml", "credentials: {k: {source: {aws: {access_key_id: env:A, secret_access_key: env:B, region: r, service: s3}}, placement: sigv4, hosts: [a.org], ttl: 1h}}\nnetwork: {allow: [{host: a.org, credential: k}]}"),
    ])
    .unwrap();
    let [k] = policy.credentials.as_slice() else {
        panic!()
    };
    assert_eq!(
        (k.source.to_string().as_str(), &k.placement),
        ("variable MINE", &Placement::Bearer.into())
    );
    assert_eq!(k.ttl.unwrap().to_string(), "5m");
}

#[test]
fn what_is_hidden_stays_hidden() {
    let text = refusal(&[(
        "./main.yaml",
        "extends: coding-agent\nfilesystem:\n  read:\n    - ~/.ssh/known_hosts",
    )]);
    assert!(
        text.contains("`~/.ssh` is hidden") && text.contains("./main.yaml:5:7 (filesystem.read)"),
        "{text}"
    );
}

#[test]
fn problems_point_into_the_file_that_has_them() {
    insta::assert_snapshot!("extends", [
        refusal(&[("./main.yaml", "extends: ./a.yaml"), ("./a.yaml", "resources:\n  memroy: 1GiB")]),
        // Overridden, and wrong all the same.
        refusal(&[("./main.yaml", "extends: ./a.yaml\nresources: {cpu: 1}"), ("./a.yaml", "resources: {cpu: fast}")]),
        // A contradiction between two files.
        refusal(&[("./main.yaml", "extends: ./a.yaml\nenvironment: {pass: [KEY]}"), ("./a.yaml", "credentials: {k: {source: env:KEY, placement: bearer, hosts: [a.org]}}\nnetwork: {allow: [{host: a.org, credential: k}]}")]),
        refusal(&[("./main.yaml", "extends: coding-agnt")]),
        refusal(&[("./main.yaml", "extends: nothing-like-it")]),
        refusal(&[("./main.yaml", "extends: ./gone.yaml")]),
        refusal(&[("./main.yaml", "extends: {a: b}")]),
        refusal(&[("./main.yaml", "extends: ./main.yaml")]),
        refusal(&[("./main.yaml", "extends: ./a.yaml"), ("./a.yaml", "extends: [offline, ./main.yaml]")]),
    ].join("\n\n"));
}

#[test]
fn an_extended_file_of_another_version_is_refused() {
    let mut files = Files(BTreeMap::from([(
        "./a.yaml".to_owned(),
        "version: 2\n".to_owned(),
    )]));
    let error = parse("main", "version: 1\nextends: ./a.yaml\n", &mut files).unwrap_err();
    assert!(error.to_string().contains("version `2`"), "{error}");
    let mut files = Files(BTreeMap::from([("./a.yaml".to_owned(), String::new())]));
    assert!(parse("main", "version: 1\nextends: ./a.yaml\n", &mut files).is_err());
}

#[test]
fn chains_and_fans_are_bounded() {
    /// Every reference is one more file, which names `fan` others.
    struct Endless {
        loaded: usize,
        fan: usize,
    }
    impl PolicySource for Endless {
        fn load(&mut self, _: &str, _: &Origin) -> Result<Loaded, LoadError> {
            self.loaded += 1;
            let names: Vec<String> = (0..self.fan)
                .map(|i| format!("./{}-{i}.yaml", self.loaded))
                .collect();
            let stop = self.fan > 1 && self.loaded.is_multiple_of(3);
            let text = if stop {
                "version: 1\n".to_owned()
            } else {
                format!("version: 1\nextends: [{}]\n", names.join(", "))
            };
            Ok(Loaded {
                name: self.loaded.to_string(),
                text,
            })
        }
    }
    for (fan, words) in [(1, "deeper than 8"), (100, "files of one policy: more than 32")] {
        let mut endless = Endless { loaded: 0, fan };
        let error = parse("main", "version: 1\nextends: ./a.yaml\n", &mut endless)
            .unwrap_err()
            .to_string();
        assert!(endless.loaded <= 32, "{}", endless.loaded);
        assert!(
            error.contains(words) || error.contains("deeper than 8"),
            "{error}"
        );
    }
}

#[test]
fn a_diamond_is_harmless() {
    let policy = read(&[
        ("./main.yaml", "extends: [./a.yaml, ./b.yaml]"),
        ("./a.yaml", "extends: coding-agent"),
        ("./b.yaml", "extends: coding-agent"),
    ])
    .unwrap();
    let plain = read(&[("./main.yaml", "extends: coding-agent")]).unwrap();
    assert_eq!(policy, plain);
}
