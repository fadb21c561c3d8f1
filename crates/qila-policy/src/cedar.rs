//! A policy as Cedar: the schema, one permit for each rule and action, one for each credential.
//!
//! A pattern that Cedar's `like` can say is a `like`. One that it cannot is tried natively by whoever decides, who puts the
//! [`matched`] texts of those that hold into the context; Cedar looks for the text there.
mod condition;
pub mod matched;
mod request;
mod schema;

pub(crate) use condition::{MAX as MAX_CONDITION, compile};
pub use request::MCP_WITHOUT_BODY;
pub use schema::{Names, schema};

use crate::model::{Credential, HostPattern, NetRule, Policy};

/// What an agent may be asked about: the actions of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A name is looked up.
    Resolve,
    /// A connection is made.
    Connect,
    /// A request is sent.
    Http,
    /// A server sends a message to the agent.
    McpServer,
    /// A credential is placed.
    UseCredential,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 5] = [
        Action::Resolve,
        Action::Connect,
        Action::Http,
        Action::McpServer,
        Action::UseCredential,
    ];

    /// Its name in the schema.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Resolve => "resolve",
            Action::Connect => "connect",
            Action::Http => "http",
            Action::McpServer => "mcp_server",
            Action::UseCredential => "use_credential",
        }
    }
}

/// A text as a Cedar string. Most that is quoted here is of a restricted alphabet already; it is quoted all the same.
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

fn set(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Conditions of which one must hold; `false` where there is none.
fn any(conditions: impl IntoIterator<Item = String>) -> String {
    let all: Vec<String> = conditions.into_iter().map(|c| format!("({c})")).collect();
    match all.is_empty() {
        true => "false".to_owned(),
        false => format!("({})", all.join(" || ")),
    }
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

fn target(rule: &NetRule) -> String {
    let ports = set(rule.ports.iter().map(u16::to_string));
    format!(
        "{} && context has port && {ports}.contains(context.port)",
        host(&rule.host)
    )
}

/// The permit of one rule for one action; none where it allows nothing of that kind.
pub fn rule(at: usize, rule: &NetRule, action: Action) -> Option<String> {
    let when = match action {
        Action::Resolve => host(&rule.host),
        Action::Connect => target(rule),
        Action::Http => request::conditions(rule),
        Action::McpServer => request::message(rule)?,
        Action::UseCredential => return None,
    };
    let action = action.as_str();
    Some(format!(
        "@id(\"network.allow[{at}].{action}\")\npermit (principal, action == Qila::Action::\"{action}\", resource)\nwhen {{ {when} }};\n"
    ))
}

/// The permit of one credential.
pub fn credential(credential: &Credential) -> String {
    let hosts = any(credential.hosts.iter().map(host));
    let name = quoted(&credential.name);
    format!(
        "@id({})\npermit (principal, action == Qila::Action::\"use_credential\", resource == Qila::Credential::{name})\nwhen {{ {hosts} }};\n",
        quoted(&format!("credentials.{}", credential.name)),
    )
}

/// Every permit of a policy.
pub fn policies(policy: &Policy) -> impl Iterator<Item = String> {
    let rules = policy.network.allow.iter().enumerate();
    let rules = rules.flat_map(|(at, r)| Action::ALL.into_iter().filter_map(move |a| rule(at, r, a)));
    rules.chain(policy.credentials.iter().map(credential))
}

/// All of it, for a person.
pub fn whole(policy: &Policy) -> String {
    let schema = schema(&Names::of(&policy.network.allow));
    let schema: String = schema.lines().map(|l| format!("// {l}\n")).collect();
    let all: Vec<String> = policies(policy).collect();
    format!("{schema}\n{}", all.join("\n"))
}
