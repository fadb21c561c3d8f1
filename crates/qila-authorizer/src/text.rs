//! A policy as Cedar text.
use qila_policy::model::{Credential, HostPattern, NetRule, Policy};

/// The schema that every policy is validated against.
pub(crate) const SCHEMA: &str = r#"namespace Qila {
  entity Run;
  entity Network;
  entity Credential;
  type Target = { host?: String, address?: ipaddr, port?: Long, method?: String, globs?: Set<String> };
  action "resolve", "connect", "http" appliesTo { principal: Run, resource: Network, context: Target };
  action "use_credential" appliesTo { principal: Run, resource: Credential, context: Target };
}
"#;

/// A text as a Cedar string. Everything that is quoted here is of a restricted alphabet already; it is quoted all the same.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => format!("context has host && context.host == {}", quoted(name.as_str())),
        HostPattern::Beneath(name) => {
            format!(
                "context has host && context.host like {}",
                quoted(&format!("*.{name}"))
            )
        }
        HostPattern::Net(net) => {
            format!(
                "context has address && context.address.isInRange(ip({}))",
                quoted(&net.to_string())
            )
        }
    }
}

fn set(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// The policies of one rule: for looking the name up, for connecting, for a request.
pub(crate) fn rule(at: usize, rule: &NetRule) -> [(&'static str, String); 3] {
    let host = host(&rule.host);
    let ports = set(rule.ports.iter().map(u16::to_string));
    let port = format!("context has port && {ports}.contains(context.port)");
    let mut http = format!("{host} && {port}");
    if let Some(methods) = &rule.methods {
        let methods = set(methods.iter().map(|m| quoted(m)));
        http.push_str(&format!(
            " && context has method && {methods}.contains(context.method)"
        ));
    }
    if let Some(paths) = &rule.paths {
        let globs = set(paths.iter().map(|g| quoted(&g.0)));
        http.push_str(&format!(
            " && context has globs && context.globs.containsAny({globs})"
        ));
    }
    let policy = |action: &str, when: &str| {
        format!(
            "@id(\"network.allow[{at}].{action}\")\npermit (principal, action == Qila::Action::\"{action}\", resource)\nwhen {{ {when} }};\n"
        )
    };
    [
        ("resolve", policy("resolve", &host)),
        ("connect", policy("connect", &format!("{host} && {port}"))),
        ("http", policy("http", &http)),
    ]
}

/// The policy of one credential.
pub(crate) fn credential(credential: &Credential) -> String {
    let hosts: Vec<String> = credential
        .hosts
        .iter()
        .map(|h| format!("({})", host(h)))
        .collect();
    let name = quoted(&credential.name);
    format!(
        "@id({})\npermit (principal, action == Qila::Action::\"use_credential\", resource == Qila::Credential::{name})\nwhen {{ {} }};\n",
        quoted(&format!("credentials.{}", credential.name)),
        if hosts.is_empty() {
            "false".to_owned()
        } else {
            hosts.join(" || ")
        }
    )
}

/// All of it, for a person.
pub(crate) fn whole(policy: &Policy) -> String {
    let schema: String = SCHEMA.lines().map(|l| format!("// {l}\n")).collect();
    let rules = policy
        .network
        .allow
        .iter()
        .enumerate()
        .flat_map(|(at, r)| rule(at, r))
        .map(|(_, t)| t);
    let credentials = policy.credentials.iter().map(credential);
    let all: Vec<String> = rules.chain(credentials).collect();
    format!("{schema}\n{}", all.join("\n"))
}
