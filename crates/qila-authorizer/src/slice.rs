//! Which rules can match an access at all.
use crate::{Access, Host, glob};
use qila_policy::model::{HostName, HostPattern, NetRule, Policy};
use std::collections::HashMap;

/// Rules by the hosts that they name.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    exact: HashMap<HostName, Vec<usize>>,
    beneath: HashMap<HostName, Vec<usize>>,
    nets: Vec<usize>,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Rules that match the whole access, in order.
    pub(crate) matching: Vec<usize>,
    /// Whether some rule for this host and port intercepts.
    pub(crate) intercept: bool,
}

/// Whether a pattern names a host.
pub(crate) fn names(pattern: &HostPattern, host: Host<'_>) -> bool {
    match host {
        Host::Name(name) => pattern.matches_name(name),
        Host::Address(ip) => pattern.matches_ip(ip),
    }
}

impl Slices {
    /// Sorts a policy's rules.
    pub(crate) fn of(policy: &Policy) -> Slices {
        let mut slices = Slices::default();
        for (at, rule) in policy.network.allow.iter().enumerate() {
            match &rule.host {
                HostPattern::Exact(name) => slices.exact.entry(name.clone()).or_default().push(at),
                HostPattern::Beneath(name) => slices.beneath.entry(name.clone()).or_default().push(at),
                HostPattern::Net(_) => slices.nets.push(at),
            }
        }
        slices
    }

    /// The rules that can match, in order.
    pub(crate) fn candidates(&self, policy: &Policy, access: &Access<'_>) -> Candidates {
        let (host, port) = match *access {
            Access::Resolve { name } => (Host::Name(name), None),
            Access::Connect { host, port } | Access::Http { host, port, .. } => (host, Some(port)),
        };
        let mut found = Candidates::default();
        for at in self.naming(host) {
            let Some(rule) = policy.network.allow.get(at) else {
                continue;
            };
            if !names(&rule.host, host) || port.is_some_and(|p| !rule.ports.contains(&p)) {
                continue;
            }
            found.intercept |= rule.intercepts();
            if request_matches(rule, access) {
                found.matching.push(at);
            }
        }
        found
    }

    fn naming(&self, host: Host<'_>) -> Vec<usize> {
        let Host::Name(name) = host else {
            return self.nets.clone();
        };
        let mut all = self.exact.get(name).cloned().unwrap_or_default();
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(found) = HostName::parse(parent).and_then(|p| self.beneath.get(&p)) {
                all.extend(found);
            }
            rest = parent;
        }
        all.sort_unstable();
        all
    }
}

fn request_matches(rule: &NetRule, access: &Access<'_>) -> bool {
    let Access::Http { method, path, .. } = access else {
        return true;
    };
    // Not judged yet: such a rule allows nothing.
    if !rule.query.is_empty()
        || !rule.headers.is_empty()
        || rule.body.is_some()
        || rule.reads_body()
        || rule.when.is_some()
    {
        return false;
    }
    let method = rule
        .methods
        .as_ref()
        .is_none_or(|m| m.iter().any(|m| m == method));
    method
        && rule
            .paths
            .as_ref()
            .is_none_or(|globs| globs.iter().any(|g| glob::matches(&g.0, path)))
}
