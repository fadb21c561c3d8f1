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

/// A rule of `network.allow` with these parts.
fn rule(parts: &str) -> String {
    format!("network:\n  allow:\n    - {{host: a.org, {parts}}}")
}

#[test]
fn conditions() {
    let cases = [
        ("empty query", rule("query: {}")),
        ("query as a list", rule("query: [a]")),
        ("open class", rule("query: {page: \"[0-9\"}")),
        ("class upside down", rule("query: {page: \"[9-0]\"}")),
        (
            "too many stars",
            rule(&format!("query: {{page: \"{}\"}}", "*a".repeat(17))),
        ),
        ("a parameter twice", rule("query: {a: b, a: c}")),
        ("header in upper case", rule("headers: {Content-Type: \"*\"}")),
        ("header that is none", rule("headers: {\"a b\": \"*\"}")),
        ("the host", rule("headers: {host: a.org}")),
        ("the length", rule("headers: {Content-Length: \"1\"}")),
        ("body without unit", rule("body: 4096")),
        ("no body", rule("body: 0B")),
        ("graphql and mcp", rule("graphql: {}, mcp: {}")),
        ("misspelt operation", rule("graphql: {operations: [mutations]}")),
        ("no operations", rule("graphql: {operations: []}")),
        ("misspelt key of graphql", rule("graphql: {operation: [query]}")),
        ("graphql as a word", rule("graphql: query")),
        (
            "graphql that nothing asks",
            rule("methods: [DELETE, HEAD], graphql: {}"),
        ),
        ("mcp that nothing sends", rule("methods: [OPTIONS], mcp: {}")),
        ("misspelt key of mcp", rule("mcp: {tool: {search: {}}}")),
        ("no tools", rule("mcp: {tools: {}}")),
        ("tools as a list", rule("mcp: {tools: [search]}")),
        ("tool without arguments", rule("mcp: {tools: {search: }}")),
        ("tool that is no pattern", rule("mcp: {tools: {\"[x\": {}}}")),
        (
            "tools that are not called",
            rule("mcp: {methods: [tools/list], tools: {search: {}}}"),
        ),
        ("no server messages", rule("mcp: {server: []}")),
        ("burst of nothing", rule("rate: {limit: 60/min, burst: 0}")),
        ("burst without a limit", rule("rate: {burst: 5}")),
        ("misspelt burst", rule("rate: {limit: 60/min, brust: 5}")),
        (
            "burst of bytes",
            "network: {rates: {upload: {limit: 1MiB/s, burst: 5}}}".to_owned(),
        ),
        (
            "query on an address",
            "network: {allow: [{host: 192.0.2.1, query: {a: b}}]}".to_owned(),
        ),
        (
            "mcp on an address",
            "network: {allow: [{host: 192.0.2.1, mcp: {}}]}".to_owned(),
        ),
        (
            "body of an address",
            "network: {allow: [{host: 192.0.2.1, body: 1KiB}]}".to_owned(),
        ),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(what, text)| (*what, text.as_str())).collect();
    snapshot_v1("conditions", &cases);
}

#[test]
fn whens() {
    let cases = [
        ("not Cedar", rule("when: 'context.method ='")),
        ("empty", rule("when: ''")),
        ("a list", rule("when: [a]")),
        (
            "another policy within",
            rule("when: 'true) }; permit (principal, action, resource); //'"),
        ),
        ("more than one expression", rule("when: 'true } unless { false'")),
        ("unknown attribute", rule("when: 'context.metod == \"GET\"'")),
        ("wrong type", rule("when: 'context.body_size == \"big\"'")),
        ("not a truth", rule("when: 'context.method'")),
        ("what may be missing", rule("when: 'context.query.page == \"1\"'")),
        (
            "graphql that may be missing",
            rule("when: 'context.graphql.kind == \"query\"'"),
        ),
        ("never true", rule("when: 'context.body_size == 1 && false'")),
        (
            "a header in upper case",
            rule("when: 'context.headers has \"X-A\"'"),
        ),
        ("a slot", rule("when: 'principal == ?principal'")),
        (
            "an entity that is not there",
            rule("when: 'principal in Other::\"x\"'"),
        ),
        (
            "too long",
            rule(&format!("when: '{} true'", "true && ".repeat(600))),
        ),
        ("nested", rule(&format!("when: '{}true'", "!".repeat(500)))),
        (
            "on an address",
            "network: {allow: [{host: 192.0.2.1, when: 'true'}]}".to_owned(),
        ),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(what, text)| (*what, text.as_str())).collect();
    snapshot_v1("whens", &cases);
}

/// A credential with this source and these further parts.
fn minted(source: &str, more: &str) -> String {
    format!("credentials:\n  a: {{source: {source}, hosts: [a.org], {more}}}")
}

#[test]
fn sources() {
    let bearer = "placement: bearer";
    let aws = "{aws: {access_key_id: env:A, secret_access_key: env:B, region: eu-central-1, service: s3}}";
    let vault = |part: &str| {
        let all = "address: \"https://vault:8200\", path: secret/data/x, field: key, token: env:T";
        let rest: Vec<&str> = all
            .split(", ")
            .filter(|p| p.split(':').next() != part.split(':').next())
            .collect();
        minted(&format!("{{vault: {{{}, {part}}}}}", rest.join(", ")), bearer)
    };
    let cases = [
        ("no kind", minted("{}", bearer)),
        ("misspelt kind", minted("{valt: {}}", bearer)),
        ("two kinds", minted("{vault: {}, aws: {}}", bearer)),
        ("vault without anything", minted("{vault: {}}", bearer)),
        ("vault in the clear", vault("address: \"http://vault:8200\"")),
        ("vault with a user", vault("address: \"https://u:p@vault:8200\"")),
        ("vault path that climbs", vault("path: ../sys")),
        ("a pasted token is not repeated", vault("token: hvs.very-secret")),
        ("a token in a map", vault("token: {env: T}")),
        ("misspelt key of vault", vault("feild: key")),
        (
            "oauth2 without a secret",
            minted("{oauth2: {token_url: \"https://a.org/t\", client_id: x}}", bearer),
        ),
        (
            "oauth2 with two spaces",
            minted(
                "{oauth2: {token_url: \"https://a.org/t\", client_id: x, client_secret: env:S, scope: \"a  b\"}}",
                bearer,
            ),
        ),
        ("aws with a bearer token", minted(aws, bearer)),
        ("sigv4 of another source", minted("env:A", "placement: sigv4")),
        (
            "aws without a region",
            minted(
                "{aws: {access_key_id: env:A, secret_access_key: env:B, service: s3}}",
                "placement: sigv4",
            ),
        ),
        ("no place", minted("env:A", "placement: []")),
        ("a place twice", minted("env:A", "placement: [bearer, bearer]")),
        (
            "a signature beside a place",
            minted(aws, "placement: [sigv4, bearer]"),
        ),
        (
            "a wrong place among others",
            minted("env:A", "placement: [bearer, {header: \"a b\"}]"),
        ),
        ("misspelt sigv4", minted(aws, "placement: sigv5")),
        (
            "github app without a key",
            minted("{github_app: {app_id: 1, installation_id: 2}}", bearer),
        ),
        (
            "github app's ids",
            minted(
                "{github_app: {app_id: x, installation_id: 0, private_key: file:/k}}",
                bearer,
            ),
        ),
        (
            "github app for all by an empty list",
            minted(
                "{github_app: {app_id: 1, installation_id: 2, private_key: file:/k, repositories: [], permissions: {}}}",
                bearer,
            ),
        ),
        (
            "github app's permissions",
            minted(
                "{github_app: {app_id: 1, installation_id: 2, private_key: file:/k, repositories: [a/b], permissions: {contents: raed, X: read}}}",
                bearer,
            ),
        ),
        ("long life", minted("env:A", "placement: bearer, ttl: 25h")),
        ("no life", minted("env:A", "placement: bearer, ttl: 0s")),
        ("life without unit", minted("env:A", "placement: bearer, ttl: 15")),
    ];
    let cases: Vec<(&str, &str)> = cases.iter().map(|(what, text)| (*what, text.as_str())).collect();
    snapshot_v1("sources", &cases);
}

#[test]
fn budgets() {
    snapshot_v1(
        "budgets",
        &[
            ("not a list", "budgets: {money: 5 USD}"),
            ("nothing", "budgets: [{}]"),
            ("no quantity", "budgets: [{per: agent}]"),
            ("two quantities", "budgets: [{money: 5 USD, tokens: 5}]"),
            ("misspelt", "budgets: [{mony: 5 USD}]"),
            ("another currency", "budgets: [{money: 5 EUR}]"),
            ("money alone", "budgets: [{money: 5}]"),
            ("no money", "budgets: [{money: 0 USD}]"),
            ("no tokens", "budgets: [{tokens: 0}]"),
            ("tokens", "budgets: [{tokens: many}]"),
            ("requests", "budgets: [{requests: 1.5}]"),
            ("no bytes", "budgets: [{bytes: 0B}]"),
            ("per", "budgets: [{requests: 5, per: agnet}]"),
            (
                "each host and one host",
                "budgets: [{requests: 5, per: host, host: a.org}]",
            ),
            ("window", "budgets: [{requests: 5, window: 100ms}]"),
            ("long window", "budgets: [{requests: 5, window: 400d}]"),
            (
                "a host that no rule allows",
                "budgets: [{requests: 5, host: a.org}]",
            ),
            (
                "a host that passes through",
                "network: {allow: [a.org]}\nbudgets: [{tokens: 5, host: a.org}]",
            ),
            ("traces", "traces: {content: hsah}"),
            ("misspelt key of traces", "traces: {contents: hash}"),
            ("traces as a word", "traces: keep"),
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
        (
            "header where the credential goes",
            with(&format!("{used}    - {{host: api.openai.com, credential: openai, headers: {{authorization: \"*\"}}}}")),
        ),
        (
            "condition where the credential goes",
            with(&format!("{used}    - {{host: api.openai.com, credential: openai, when: 'context.headers has authorization'}}")),
        ),
        (
            "parameter where the credential goes",
            "credentials:\n  a: {source: env:A, placement: {query: key}, hosts: [a.org]}\nnetwork: {allow: [{host: a.org, credential: a, query: {key: \"*\"}}]}".to_owned(),
        ),
        (
            "signature where the credential goes",
            "credentials:\n  a: {source: {aws: {access_key_id: env:A, secret_access_key: env:B, region: r, service: s3}}, placement: sigv4, hosts: [a.org]}\nnetwork: {allow: [{host: a.org, credential: a, headers: {x-amz-date: \"*\"}}]}".to_owned(),
        ),
        (
            "real value of a key passed on",
            "credentials:\n  a: {source: {aws: {access_key_id: env:A, secret_access_key: env:B_KEY, region: r, service: s3}}, placement: sigv4, hosts: [a.org]}\nnetwork: {allow: [{host: a.org, credential: a}]}\nenvironment: {pass: [B_*]}".to_owned(),
        ),
        (
            "key in the workspace",
            "credentials:\n  a: {source: {github_app: {app_id: 1, installation_id: 2, private_key: file:./key.pem}}, placement: bearer, hosts: [a.org]}\nnetwork: {allow: [{host: a.org, credential: a}]}".to_owned(),
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
        rule("methods: [GET], mcp: {}"),
        rule("methods: [GET], graphql: {}"),
        rule("mcp: {methods: [\"tools/*\"], tools: {search: {}}, server: [\"*\"]}"),
        rule("headers: {authorization: \"*\"}, query: {key: \"*\", \"a[b]\": 1}, body: 4MiB, rate: {limit: 60/min, burst: 10}"),
        rule("when: 'context.body_size < 1000'"),
        rule("when: 'context has mcp.arguments.path && context.mcp.arguments.path like \"a*\"'"),
        rule("when: 'context[\"query\"] has \"a b\" && context[\"query\"][\"a b\"] == \"1\"'"),
        rule("when: 'context.headers has referer && context.headers.referer like \"https://*\" // \"any\"'"),
        rule("graphql: {}, when: 'context.graphql.kind == \"query\" // only reads'"),
        rule("when: 'context.headers has \"x-a\" && context.headers[\"x-a\"] like \"b*\" && context.host == \"a.org\"'"),
        format!("{}\nbudgets: [{{requests: 5, host: a.org}}, {{tokens: 200k, per: agent, window: 1d}}, {{bytes: 1GiB, per: host}}, {{money: 0.5 USD}}]\ntraces: {{content: none}}", rule("methods: [GET]")),
        "network: {allow: [a.org], rates: {upload: {limit: 1MiB/s, burst: 5MiB}, requests: 60/min burst 5}}\nbudgets: [{bytes: 1GiB, host: a.org}]".to_owned(),
        format!("{}\nnetwork: {{allow: [{{host: a.org, credential: a}}]}}", minted("{vault: {address: \"https://vault:8200\", path: secret/data/x, field: key, token: {command: [pass, vault]}, namespace: a/b}}", "placement: {header: x-key}, ttl: 15m")),
        format!("{}\nnetwork: {{allow: [{{host: a.org, credential: a}}]}}", minted("{oauth2: {token_url: \"http://localhost:1/t\", client_id: x, refresh_token: file:~/t, revoke_url: \"https://a.org/r\", scope: \"a b\"}}", "placement: bearer, ttl: 24h")),
        format!("{}\nnetwork: {{allow: [{{host: a.org, credential: a}}]}}", minted("{github_app: {app_id: 1, installation_id: 2, private_key: file:/k, repositories: [qila], permissions: {contents: read, issues: write}}}", "placement: {basic: x-access-token}")),
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
fn nested_conditions_end_in_a_condition_or_an_error() {
    let long = |open: &str, middle: &str, close: &str| {
        let n = 4_000 / (open.len() + close.len());
        format!("{}{middle}{}", open.repeat(n), close.repeat(n))
    };
    for text in [
        long("(", "true", ")"),
        long("[", "1", "]"),
        long("!(", "true", ")"),
        long("if true then ", "true", " else true"),
        long("{a:", "1", "}"),
        long("true && (", "true", ")"),
        long("", "context", ".a"),
        long("-", "1", ""),
        long("ip(", "\"1.2.3.4\"", ")"),
        long("true||", "true", ""),
        long("1+", "1", " "),
        format!("true // \" {}", long("(", "true", ")")),
        format!("true // \"\n && {}", long("(", "true", ")")),
        format!("\"//\" == \"\" && {}", long("(", "true", ")")),
        // As much as is let through.
        format!("{}true{}", "(".repeat(16), ")".repeat(16)),
        format!("context{} == 1", ".a".repeat(120)),
        format!("{}1 == 1", "1+".repeat(120)),
        format!("true{}", "||true".repeat(80)),
        format!("{}true{}", "if true then ".repeat(16), " else true".repeat(16)),
        format!("{}true{}", "!(".repeat(16), ")".repeat(16)),
    ] {
        let whole = v1(&rule(&format!("when: '{text}'")));
        if let Err(error) = parse("policy.yaml", &whole, &mut NoFiles) {
            assert!(error.to_string().len() < 4_000);
        }
    }
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
