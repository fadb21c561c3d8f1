//! What is wrong with a policy is said with its place: every case is a snapshot of the rendered error.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_policy::{NoFiles, PolicyError, parse};

fn refused(text: &str) -> PolicyError {
    match parse("policy.yaml", text, &mut NoFiles) {
        Ok(policy) => panic!("accepted:\n{text}\n{policy:?}"),
        Err(error) => error,
    }
}

/// Cases under a name, rendered one after the other.
fn snapshot(name: &str, cases: &[(&str, &str)]) {
    let mut out = String::new();
    for (what, text) in cases {
        out += &format!("### {what}\n{}\n\n", refused(text));
    }
    insta::assert_snapshot!(name, out);
}

/// A policy with version 1 and these lines.
fn v1(lines: &str) -> String {
    format!("version: 1\n{lines}\n")
}

fn snapshot_v1(name: &str, cases: &[(&str, &str)]) {
    let texts: Vec<(&str, String)> = cases.iter().map(|(what, lines)| (*what, v1(lines))).collect();
    let cases: Vec<(&str, &str)> = texts.iter().map(|(what, text)| (*what, text.as_str())).collect();
    snapshot(name, &cases);
}

#[test]
fn files() {
    snapshot(
        "files",
        &[
            ("empty", ""),
            ("only a comment", "# nothing\n"),
            ("no version", "resources: {cpu: 2}\n"),
            ("another version", "version: 2\nresuorces: {}\n"),
            ("version as a list", "version: [1]\n"),
            ("a list", "- version: 1\n"),
            ("a word", "policy\n"),
            ("two documents", "version: 1\n---\nversion: 1\n"),
            (
                "bad indentation",
                "version: 1\nresources:\n  cpu: 2\n memory: 2GiB\n",
            ),
            ("unclosed list", "version: 1\nfilesystem: {read: [~/.cargo\n"),
            ("tab", "version: 1\nresources:\n\tcpu: 2\n"),
            ("unclosed quote", "version: 1\nisolation: \"auto\n"),
            ("unknown alias", "version: 1\nresources: *a\n"),
            (
                "merge key",
                "version: 1\nnetwork: &a {loopback: true}\nfilesystem:\n  <<: *a\n",
            ),
            ("tagged", "version: 1\nisolation: !secret auto\n"),
            ("a key that is a list", "version: 1\n[a]: b\n"),
            ("terminal escapes", "version: 1\n\"\\e[31mred\": 1\n"),
            ("control character", "version: 1\nisolation: \u{1b}[31m\n"),
        ],
    );
}

#[test]
fn keys() {
    snapshot_v1(
        "keys",
        &[
            ("misspelt", "resources:\n  memroy: 2GiB"),
            ("misspelt at the top", "resuorces: {}"),
            ("with a hyphen", "resources: {wall-time: 3m}"),
            ("in the wrong clause", "memory: 2GiB"),
            ("unlike any", "banana: 1"),
            ("twice", "resources:\n  cpu: 2\n  memory: 1GiB\n  cpu: 4"),
            (
                "twice at the top",
                "isolation: auto\nresources: {}\nisolation: process",
            ),
            ("a credential twice", "credentials:\n  a: {}\n  a: {}"),
            ("in a rule", "network:\n  allow:\n    - {hosts: pypi.org}"),
            ("in a hard limit", "resources: {memory: {Hard: 2GiB}}"),
            ("long", &format!("{}: 1", "k".repeat(300))),
        ],
    );
}

#[test]
fn values() {
    snapshot_v1(
        "values",
        &[
            ("size without unit", "resources:\n  memory: 2048"),
            ("size in a wrong unit", "resources:\n  memory: 2gb"),
            ("negative", "resources: {memory: -2GiB}"),
            ("zero", "resources: {disk: 0B, wall_time: 0s}"),
            ("rate without time", "resources: {disk_io: {read: 50MiB}}"),
            ("duration", "resources: {wall_time: 30 minutes}"),
            ("count", "resources: {processes: many}"),
            ("count of zero", "resources: {processes: 0}"),
            ("count as a float", "resources: {open_files: 4096.0}"),
            ("cpu", "resources: {cpu: 0}"),
            ("list for a map", "resources: [cpu]"),
            ("map for a size", "resources: {output: {hard: 1MiB}}"),
            ("nothing for a map", "network:"),
            ("tier", "isolation: contaner"),
            ("workspace", "filesystem: {workspace: readonly}"),
            ("flag", "network: {loopback: yes}"),
            ("base", "filesystem: {base: hots}"),
            ("two bases", "filesystem: {base: {directory: /a, oci_layout: /b}}"),
            ("no base", "filesystem: {base: {}}"),
            ("syscalls", "syscalls: stric"),
            ("syscall", "syscalls: {deny: [Ptrace, \"a b\"]}"),
            (
                "several at once",
                "isolation: jail\nresources:\n  memory: 2\n  cpu: x\nfilesystem:\n  raed: [/a]",
            ),
        ],
    );
}

#[test]
fn paths() {
    snapshot_v1(
        "paths",
        &[
            ("relative", "filesystem: {read: [src]}"),
            ("upwards", "filesystem: {read: [~/../etc]}"),
            ("trailing slash", "filesystem: {hide: [/etc/]}"),
            ("NUL", "filesystem: {hide: [\"/etc\\0\"]}"),
            ("another's home", "filesystem: {read: [~bob/x]}"),
            ("empty", "filesystem: {read: [\"\"]}"),
            ("not a list", "filesystem: {read: /opt}"),
            ("a map in the list", "filesystem: {read: [{a: b}]}"),
        ],
    );
}

#[test]
fn network() {
    snapshot_v1(
        "network",
        &[
            ("url", "network: {allow: [\"https://pypi.org\"]}"),
            ("too wide", "network: {allow: [\"*.com\"]}"),
            ("star", "network: {allow: [\"*\"]}"),
            ("host bits", "network: {allow: [10.0.0.1/8]}"),
            ("decimal address", "network: {allow: [2130706433]}"),
            ("no host", "network: {allow: [{port: 443}]}"),
            ("port", "network: {allow: [{host: pypi.org, port: 0}]}"),
            (
                "ports",
                "network: {allow: [{host: pypi.org, ports: [443, 65536]}]}",
            ),
            (
                "both",
                "network: {allow: [{host: pypi.org, port: 443, ports: [80]}]}",
            ),
            ("no ports", "network: {allow: [{host: pypi.org, ports: []}]}"),
            ("method", "network: {allow: [{host: pypi.org, methods: [get]}]}"),
            ("no methods", "network: {allow: [{host: pypi.org, methods: []}]}"),
            ("path", "network: {allow: [{host: pypi.org, paths: [simple]}]}"),
            (
                "path with a query",
                "network: {allow: [{host: pypi.org, paths: [\"/a?b\"]}]}",
            ),
            ("rate", "network: {allow: [{host: pypi.org, rate: 60}]}"),
            ("rates", "network: {rates: {connections: 100, upload: 10/s}}"),
        ],
    );
}

#[test]
fn credentials() {
    snapshot_v1(
        "credentials",
        &[
            ("incomplete", "credentials:\n  a: {source: env:A}"),
            (
                "a pasted secret is not repeated",
                "credentials:\n  a: {source: sk-very-secret, placement: bearer, hosts: [a.org]}",
            ),
            (
                "source of another kind",
                "credentials:\n  a: {source: vault:x, placement: bearer, hosts: [a.org]}",
            ),
            (
                "empty command",
                "credentials:\n  a: {source: {command: []}, placement: bearer, hosts: [a.org]}",
            ),
            (
                "relative command",
                "credentials:\n  a: {source: {command: [../x]}, placement: bearer, hosts: [a.org]}",
            ),
            (
                "placement",
                "credentials:\n  a: {source: env:A, placement: baerer, hosts: [a.org]}",
            ),
            (
                "two placements",
                "credentials:\n  a: {source: env:A, placement: {header: x, query: y}, hosts: [a.org]}",
            ),
            (
                "framing header",
                "credentials:\n  a: {source: env:A, placement: {header: Content-Length}, hosts: [a.org]}",
            ),
            (
                "header with a line break",
                "credentials:\n  a: {source: env:A, placement: {header: \"x\\r\\ny\"}, hosts: [a.org]}",
            ),
            (
                "user name",
                "credentials:\n  a: {source: env:A, placement: {basic: \"a:b\"}, hosts: [a.org]}",
            ),
            (
                "no hosts",
                "credentials:\n  a: {source: env:A, placement: bearer, hosts: []}",
            ),
            (
                "name",
                "credentials:\n  a.b: {source: env:A, placement: bearer, hosts: [a.org]}",
            ),
            (
                "variable",
                "credentials:\n  a: {source: env:A, placement: bearer, hosts: [a.org], env: [A-B]}",
            ),
        ],
    );
}

#[test]
fn environment() {
    snapshot_v1(
        "environment",
        &[
            ("everything", "environment: {pass: [\"*\"]}"),
            ("assignment", "environment: {pass: [A=b]}"),
            ("name", "environment: {set: {1A: x}}"),
            ("no value", "environment: {set: {A: }}"),
            ("a list", "environment: {set: {A: [b]}}"),
        ],
    );
}

const OPENAI: &str =
    "credentials:\n  openai: {source: env:KEY, placement: bearer, hosts: [api.openai.com], env: [KEY]}\n";

#[test]
fn contradictions() {
    let with = |lines: &str| format!("{OPENAI}{lines}");
    let used = "network:\n  allow:\n    - {host: api.openai.com, credential: openai}\n";
    let cases = [
        ("unused credential", with("")),
        ("host without a rule", with("network: {allow: [api.openai.com]}")),
        (
            "credential host that no rule allows",
            "credentials:\n  a: {source: env:A, placement: bearer, hosts: [a.org, b.org]}\nnetwork: {allow: [{host: a.org, credential: a}]}".to_owned(),
        ),
        ("undefined credential", with(&format!("{used}    - {{host: a.org, credential: opnai}}"))),
        ("host not covered", with(&format!("{used}    - {{host: openai.com, credential: openai}}"))),
        ("wildcard not covered", with(&format!("{used}    - {{host: \"*.openai.com\", credential: openai}}"))),
        ("address with methods", "network: {allow: [{host: 192.0.2.0/24, methods: [GET]}]}".to_owned()),
        ("address with paths", "network: {allow: [{host: 192.0.2.1, paths: [/a]}]}".to_owned()),
        (
            "address with a credential",
            "credentials:\n  a: {source: env:A, placement: bearer, hosts: [192.0.2.1]}\nnetwork: {allow: [{host: 192.0.2.1, credential: a}]}".to_owned(),
        ),
        ("hidden and writable", "filesystem: {write: [~/.ssh/config], hide: [~/.ssh]}".to_owned()),
        ("hidden and readable", "filesystem: {read: [/opt/a], hide: [/opt/a]}".to_owned()),
        ("hidden workspace", "filesystem: {hide: [.]}".to_owned()),
        ("hidden root", "filesystem: {hide: [/]}".to_owned()),
        ("workspace that is not given", "filesystem: {workspace: none, write: [./out]}".to_owned()),
        ("variable set twice", with(&format!("{used}environment: {{set: {{KEY: x}}}}"))),
        (
            "variable of two credentials",
            "credentials:\n  a: {source: env:A, placement: bearer, hosts: [a.org], env: [X]}\n  b: {source: env:B, placement: bearer, hosts: [b.org], env: [X]}\nnetwork: {allow: [{host: a.org, credential: a}, {host: b.org, credential: b}]}".to_owned(),
        ),
        ("real value passed on", with(&format!("{used}environment: {{pass: [KE*]}}"))),
        (
            "secret in a readable directory",
            "filesystem: {read: [~/keys]}\ncredentials:\n  a: {source: file:~/keys/a, placement: bearer, hosts: [a.org]}\nnetwork: {allow: [{host: a.org, credential: a}]}".to_owned(),
        ),
        (
            "secret in the workspace",
            "credentials:\n  a: {source: file:./.key, placement: bearer, hosts: [a.org]}\nnetwork: {allow: [{host: a.org, credential: a}]}".to_owned(),
        ),
        (
            "program that the agent can replace",
            "filesystem: {workspace: direct}\ncredentials:\n  a: {source: {command: [./key.sh]}, placement: bearer, hosts: [a.org]}\nnetwork: {allow: [{host: a.org, credential: a}]}".to_owned(),
        ),
        ("system call allowed and denied", "syscalls: {allow: [ptrace], deny: [ptrace]}".to_owned()),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(what, text)| (*what, text.as_str())).collect();
    snapshot_v1("contradictions", &cases);
}

#[test]
fn what_is_alike_but_does_not_contradict_is_accepted() {
    let used = "network:\n  allow:\n    - {host: api.openai.com, credential: openai}\n";
    for lines in [
        format!("{OPENAI}{used}"),
        format!("{OPENAI}{used}    - {{host: api.openai.com, credential: openai}}\n"),
        format!("{OPENAI}{used}environment: {{pass: [K, LC_*], set: {{KEY2: x}}}}"),
        "filesystem: {write: [~/.sshx], hide: [~/.ssh, ./.env]}".to_owned(),
        "filesystem: {workspace: none, hide: [./.env]}".to_owned(),
        "network: {loopback: false, allow: [192.0.2.0/24, \"2001:db8::/32\", {host: 192.0.2.1, port: 22, rate: 1/s}]}".to_owned(),
        "filesystem: {read: [~/keys], hide: [~/keys/a]}\ncredentials:\n  a: {source: file:~/keys/a, placement: bearer, hosts: [a.org]}\nnetwork: {allow: [{host: a.org, credential: a}]}".to_owned(),
        "credentials:\n  a: {source: env:A, placement: bearer, hosts: [\"*.a.org\"]}\nnetwork: {allow: [{host: x.a.org, credential: a}]}".to_owned(),
    ] {
        let text = v1(&lines);
        if let Err(error) = parse("policy.yaml", &text, &mut NoFiles) {
            panic!("{text}\n{error}");
        }
    }
}

#[test]
fn bombs_and_floods_end_quickly_and_in_an_error() {
    let deep = format!("version: 1\nnetwork: {}", "[".repeat(5_000));
    let deep_block: String = (0..200).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    let laughs = "version: 1\na: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    let keys: String = (0..30_000).map(|i| format!("key{i}: 1\n")).collect();
    let items = format!(
        "version: 1\nfilesystem:\n  hide:\n{}",
        "    - /a\n".repeat(10_000)
    );
    let large = format!("version: 1\n# {}", "x".repeat(qila_policy::MAX_BYTES));
    for text in [&deep, &v1(&deep_block), laughs, &v1(&keys), &items, &large] {
        let error = refused(text);
        assert!(error.diagnostics().len() <= 20);
        assert!(error.to_string().len() < 20_000);
    }
    assert!(refused(&large).to_string().contains("at most 1048576"));
}

#[test]
fn places_are_exact() {
    let error =
        refused("version: 1\nnetwork:\n  allow:\n    - pypi.org\n    - {host: a.org, ports: [443, 70000]}\n");
    let [only] = error.diagnostics() else {
        panic!("{error}")
    };
    assert_eq!((only.line, only.column), (5, 34));
    assert_eq!(only.clause, "network.allow[1].ports[1]");
    assert_eq!(only.file, "policy.yaml");
}
