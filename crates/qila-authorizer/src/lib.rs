//! The one decision engine: a Permit compiled to Cedar, sliced per access; pure.
//!
//! Rules only allow; what no rule allows is denied, and so is whatever cannot be evaluated. A native filter narrows the
//! rules to those that can match (it may only leave permits out, never a forbid); Cedar then decides over what is left, so
//! that the cost of a decision does not grow with the policy.
//!
//! A request is decided in up to two stages: over its head, and, where a rule that matches so far looks into the body
//! ([`Verdict::needs_body`]), once more when that was read.
#![forbid(unsafe_code)]

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
mod agreement;
mod body;
mod cedar;
mod context;
mod facts;
mod glob;
mod judge;
mod slice;
mod value;

pub use facts::{BodyFacts, BodyNeed, GraphQlFacts, HttpFacts, McpFacts, McpKind};
pub use glob::{matches, well_formed};

use cedar::Engine;
use judge::{Answer, Asked};
use qila_policy::Permit;
use qila_policy::cedar::Action;
use qila_policy::model::{HostName, NetRule, Policy};
use std::fmt;
use std::net::IpAddr;

/// Who is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A name.
    Name(&'a HostName),
    /// An address, by a client that uses no name.
    Address(IpAddr),
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => write!(f, "{name}"),
            Host::Address(ip) => write!(f, "{ip}"),
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    /// A name is looked up.
    Resolve {
        /// The name.
        name: &'a HostName,
    },
    /// A connection, of which nothing is known but where it goes.
    Connect {
        /// Host.
        host: Host<'a>,
        /// Port.
        port: u16,
    },
    /// An HTTP request.
    Http {
        /// Host.
        host: Host<'a>,
        /// Port.
        port: u16,
        /// Method, as sent.
        method: &'a str,
        /// Path, as sent, without the query.
        path: &'a str,
        /// What else is known of it.
        facts: &'a HttpFacts<'a>,
    },
    /// A request or notification that an MCP server sends to the agent, in a stream that the agent opened.
    McpServer {
        /// Host.
        host: Host<'a>,
        /// Port.
        port: u16,
        /// The rule that allowed the stream, as its position in `network.allow`.
        rule: usize,
        /// The method of the message.
        method: &'a str,
    },
}

impl<'a> Access<'a> {
    fn action(&self) -> Action {
        match self {
            Access::Resolve { .. } => Action::Resolve,
            Access::Connect { .. } => Action::Connect,
            Access::Http { .. } => Action::Http,
            Access::McpServer { .. } => Action::McpServer,
        }
    }

    fn target(&self) -> (Host<'a>, Option<u16>) {
        match *self {
            Access::Resolve { name } => (Host::Name(name), None),
            Access::Connect { host, port }
            | Access::Http { host, port, .. }
            | Access::McpServer { host, port, .. } => (host, Some(port)),
        }
    }
}

/// The answer, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Allowed or not. Not, as long as [`Verdict::needs_body`] says what is still to be known.
    pub allowed: bool,
    /// The rule that decided, as its position in `network.allow`.
    pub rule: Option<usize>,
    /// Whether some rule for this host and port looks into what is said: TLS must then end at the gateway.
    pub intercept: bool,
    /// The credential that may be placed into the request, as its position in the policy.
    pub credential: Option<usize>,
    /// Most bytes that the body of the request may have; whoever carries it holds it to that.
    pub body_limit: Option<u64>,
    /// The body that must be read, to ask again with what it says. Nothing is allowed yet.
    pub needs_body: Option<BodyNeed>,
    /// Why, for a person.
    pub reason: String,
}

/// The policy does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy does not compile to Cedar: {0}")]
pub struct CompileError(pub(crate) String);

/// Decides every access of one run.
#[derive(Debug)]
pub struct Authorizer {
    policy: Policy,
    slices: slice::Slices,
    engine: Engine,
}

fn deny(reason: String) -> Verdict {
    Verdict {
        allowed: false,
        rule: None,
        intercept: false,
        credential: None,
        body_limit: None,
        needs_body: None,
        reason,
    }
}

fn unevaluated(error: &CompileError) -> Verdict {
    deny(format!(
        "the decision could not be evaluated, and is denied: {error}"
    ))
}

impl Authorizer {
    /// Takes a permit. Nothing of Cedar is parsed before the first decision that needs it.
    pub fn compile(permit: &Permit) -> Result<Authorizer, CompileError> {
        let policy = permit.policy().clone();
        Ok(Authorizer {
            slices: slice::Slices::of(&policy),
            engine: Engine::new()?,
            policy,
        })
    }

    /// Decides. Whatever cannot be evaluated is denied.
    pub fn decide(&self, access: &Access<'_>) -> Verdict {
        match access {
            Access::Http { path, .. } if !glob::well_formed(path) => {
                deny("the path is not in plain form".into())
            }
            Access::McpServer { rule, .. } => self.over_rule(*rule, access),
            _ => self.over_all(access),
        }
    }

    fn over_all(&self, access: &Access<'_>) -> Verdict {
        let asked = Asked::of(access);
        let (host, port) = access.target();
        let found = self.slices.candidates(&self.policy, host, port, &asked);
        let ranked = self.ranked(&found.matching, access);
        for (n, (rule, credential, answer)) in ranked.iter().enumerate() {
            if let Answer::Body(_) = answer {
                return pending(found.intercept, ranked.iter().skip(n).map(|(_, _, a)| *a));
            }
            match self.engine.ask(&self.policy, *rule, *credential, access, &asked) {
                Ok(true) => return self.allowed(*rule, *credential, found.intercept),
                Ok(false) => {}
                Err(e) => return unevaluated(&e),
            }
        }
        deny(no_rule(access))
    }

    /// Candidates with their credentials, in the order in which they are tried: a credential that may go there comes before the
    /// order of the rules.
    fn ranked(
        &self,
        matching: &[(usize, Answer)],
        access: &Access<'_>,
    ) -> Vec<(usize, Option<usize>, Answer)> {
        let placed = matches!(access, Access::Http { .. });
        let credential = |rule: usize| {
            let name = self.policy.network.allow.get(rule)?.credential.as_ref()?;
            self.policy.credentials.iter().position(|c| c.name == *name)
        };
        let mut all: Vec<_> = matching
            .iter()
            .map(|(rule, answer)| (*rule, credential(*rule).filter(|_| placed), *answer))
            .collect();
        // Stable: otherwise they stay in order.
        all.sort_by_key(|(_, credential, _)| credential.is_none());
        all
    }

    fn allowed(&self, rule: usize, credential: Option<usize>, intercept: bool) -> Verdict {
        let bound = self.policy.network.allow.get(rule).and_then(NetRule::body_bound);
        Verdict {
            allowed: true,
            rule: Some(rule),
            intercept,
            credential,
            body_limit: bound.map(|b| b.0),
            needs_body: None,
            reason: format!("network.allow[{rule}] allows it"),
        }
    }

    /// A message of a server is decided over the rule under which the agent opened the stream, and over no other.
    fn over_rule(&self, at: usize, access: &Access<'_>) -> Verdict {
        let (host, port) = access.target();
        let rule = self.policy.network.allow.get(at);
        let rule = rule.filter(|r| slice::names(&r.host, host) && port.is_some_and(|p| r.ports.contains(&p)));
        let allows =
            |mcp| matches!(access, Access::McpServer { method, .. } if body::from_server(mcp, method));
        if !rule.and_then(|r| r.mcp.as_ref()).is_some_and(allows) {
            return deny(no_rule(access));
        }
        match self.engine.ask(&self.policy, at, None, access, &Asked::Other) {
            Ok(true) => Verdict {
                body_limit: None,
                ..self.allowed(at, None, true)
            },
            Ok(false) => deny(no_rule(access)),
            Err(e) => unevaluated(&e),
        }
    }

    /// Whether a credential may be sent to a host.
    pub fn may_receive(&self, credential: usize, host: Host<'_>) -> bool {
        let Some(credential) = self.policy.credentials.get(credential) else {
            return false;
        };
        credential.hosts.iter().any(|pattern| slice::names(pattern, host))
    }

    /// The whole policy as Cedar, with its schema.
    pub fn cedar(&self) -> String {
        qila_policy::cedar::whole(&self.policy)
    }

    /// Parses and validates all of it.
    pub fn check(&self) -> Result<(), CompileError> {
        cedar::check(&self.policy)
    }
}

/// Nothing is decided before the body is known: what any of the rules that are left wants to know of it.
fn pending(intercept: bool, left: impl Iterator<Item = Answer>) -> Verdict {
    let mut need = BodyNeed {
        limit: 0,
        graphql: false,
        mcp: false,
    };
    for answer in left {
        if let Answer::Body(one) = answer {
            need = BodyNeed {
                limit: need.limit.max(one.limit),
                graphql: need.graphql || one.graphql,
                mcp: need.mcp || one.mcp,
            };
        }
    }
    Verdict {
        intercept,
        needs_body: Some(need),
        ..deny("a rule of `network.allow` looks into the body, which was not read".into())
    }
}

fn no_rule(access: &Access<'_>) -> String {
    let short = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    match access {
        Access::Resolve { name } => format!("no rule of `network.allow` names {name}"),
        Access::Connect { host, port } => format!("no rule of `network.allow` allows {host} on port {port}"),
        Access::Http {
            host,
            port,
            method,
            path,
            facts,
        } => {
            let (method, path) = (short(method, 32), short(path, 256));
            let what = facts.body.map(said).unwrap_or_default();
            format!("no rule of `network.allow` allows {method} {path}{what} on {host}:{port}")
        }
        Access::McpServer {
            host,
            port,
            rule,
            method,
        } => {
            let method = short(method, 64);
            format!("network.allow[{rule}] does not let the server at {host}:{port} send `{method}`")
        }
    }
}

/// What a body asks for, in a few words.
fn said(body: &BodyFacts) -> String {
    let short = |text: &str| text.chars().take(64).collect::<String>();
    match body {
        BodyFacts::None => String::new(),
        BodyFacts::GraphQl(all) => all.first().map_or_else(String::new, |one| {
            let fields: Vec<String> = one.fields.iter().take(8).map(|f| short(f)).collect();
            format!(" with the GraphQL {} of {}", one.kind, fields.join(", "))
        }),
        BodyFacts::Mcp(all) => all.first().map_or_else(String::new, |one| match &one.tool {
            Some(tool) => format!(" with the call of the tool `{}`", short(tool)),
            None if one.kind == McpKind::Response => " with an answer to the server".to_owned(),
            None => format!(" with the MCP method `{}`", short(&one.method)),
        }),
        BodyFacts::Other => " with a body that it does not understand".to_owned(),
    }
}
