//! The one decision engine: a Permit compiled to Cedar, sliced per access; pure.
//!
//! Rules only allow; what no rule allows is denied, and so is whatever cannot be evaluated. A native filter narrows the
//! rules to those that can match (it may only leave permits out, never a forbid); Cedar then decides over what is left, so
//! that the cost of a decision does not grow with the policy.
#![forbid(unsafe_code)]

mod cedar;
mod glob;
mod slice;
mod text;

pub use glob::{matches, well_formed};

use cedar::Engine;
use qila_policy::Permit;
use qila_policy::model::{HostName, Policy};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    },
}

/// The answer, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Allowed or not.
    pub allowed: bool,
    /// The rule that decided, as its position in `network.allow`.
    pub rule: Option<usize>,
    /// Whether some rule for this host and port looks into what is said: TLS must then end at the gateway.
    pub intercept: bool,
    /// The credential that may be placed into the request, as its position in the policy.
    pub credential: Option<usize>,
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
        let deny = |reason: String| Verdict {
            allowed: false,
            rule: None,
            intercept: false,
            credential: None,
            reason,
        };
        if let Access::Http { path, .. } = access
            && !glob::well_formed(path)
        {
            return deny("the path is not in plain form".into());
        }
        let found = self.slices.candidates(&self.policy, access);
        // A credential that may go there comes before the order of the rules.
        let with_credential = found.matching.iter().copied().find_map(|rule| {
            let name = self.policy.network.allow.get(rule)?.credential.as_ref()?;
            let at = self.policy.credentials.iter().position(|c| c.name == *name)?;
            Some((rule, at))
        });
        let (rule, credential) = match (with_credential, found.matching.first()) {
            (Some((rule, credential)), _) if matches!(access, Access::Http { .. }) => {
                (rule, Some(credential))
            }
            (_, Some(rule)) => (*rule, None),
            (_, None) => return deny(no_rule(access)),
        };
        match self.engine.ask(&self.policy, rule, credential, access) {
            Ok(true) => Verdict {
                allowed: true,
                rule: Some(rule),
                intercept: found.intercept,
                credential,
                reason: format!("network.allow[{rule}] allows it"),
            },
            Ok(false) => deny(no_rule(access)),
            Err(e) => deny(format!("the decision could not be evaluated, and is denied: {e}")),
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
        text::whole(&self.policy)
    }

    /// Parses and validates all of it.
    pub fn check(&self) -> Result<(), CompileError> {
        cedar::check(&self.policy)
    }
}

fn no_rule(access: &Access<'_>) -> String {
    match access {
        Access::Resolve { name } => format!("no rule of `network.allow` names {name}"),
        Access::Connect { host, port } => format!("no rule of `network.allow` allows {host} on port {port}"),
        Access::Http {
            host,
            port,
            method,
            path,
        } => {
            let (method, path): (String, String) = (
                method.chars().take(32).collect(),
                path.chars().take(256).collect(),
            );
            format!("no rule of `network.allow` allows {method} {path} on {host}:{port}")
        }
    }
}
