//! Which rules can match an access at all.
use crate::Host;
use crate::judge::{self, Answer, Asked};
use qila_policy::model::{HostName, HostPattern, Policy};
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
    /// Rules that match as far as can be said, in order, and what they say.
    pub(crate) matching: Vec<(usize, Answer)>,
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
    pub(crate) fn candidates(
        &self,
        policy: &Policy,
        host: Host<'_>,
        port: Option<u16>,
        asked: &Asked<'_>,
    ) -> Candidates {
        let mut found = Candidates::default();
        for at in self.naming(host) {
            let Some(rule) = policy.network.allow.get(at) else {
                continue;
            };
            if !names(&rule.host, host) || port.is_some_and(|p| !rule.ports.contains(&p)) {
                continue;
            }
            found.intercept |= rule.intercepts();
            match judge::rule(rule, asked) {
                Answer::No => {}
                answer => found.matching.push((at, answer)),
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
