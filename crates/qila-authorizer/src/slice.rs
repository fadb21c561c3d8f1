//! Which rules can match an access at all.
use crate::judge::{self, Answer, Asked};
use crate::{Host, glob};
use qila_policy::model::{HostName, HostPattern, NetRule, Policy};
use std::collections::HashMap;
use std::ops::Range;

/// Rules by the hosts that they name.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    exact: HashMap<HostName, Vec<usize>>,
    beneath: HashMap<HostName, Vec<usize>>,
    nets: Vec<usize>,
    briefs: Vec<Brief>,
    /// Beginnings of paths, one after the other: a request runs over those of all rules of its host.
    heads: String,
    spans: Vec<Range<usize>>,
}

/// What of a rule says quickest that it does not match.
#[derive(Debug)]
struct Brief {
    /// Its port, if it has one alone.
    port: Option<u16>,
    intercepts: bool,
    /// The beginnings of its paths, in [`Slices::spans`]; none if it names no paths.
    heads: Option<Range<usize>>,
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
            let brief = slices.brief(rule);
            slices.briefs.push(brief);
            match &rule.host {
                HostPattern::Exact(name) => slices.exact.entry(name.clone()).or_default().push(at),
                HostPattern::Beneath(name) => slices.beneath.entry(name.clone()).or_default().push(at),
                HostPattern::Net(_) => slices.nets.push(at),
            }
        }
        slices
    }

    fn brief(&mut self, rule: &NetRule) -> Brief {
        let first = self.spans.len();
        for glob in rule.paths.iter().flatten() {
            let start = self.heads.len();
            self.heads.push_str(glob::head(glob));
            self.spans.push(start..self.heads.len());
        }
        Brief {
            port: match rule.ports.as_slice() {
                [one] => Some(*one),
                _ => None,
            },
            intercepts: rule.intercepts(),
            heads: rule.paths.is_some().then_some(first..self.spans.len()),
        }
    }

    /// Whether a rule can be about a path at all.
    fn may_name(&self, brief: &Brief, path: &str) -> bool {
        let Some(heads) = &brief.heads else { return true };
        let spans = self.spans.get(heads.clone()).unwrap_or_default();
        spans.iter().any(|span| {
            self.heads
                .get(span.clone())
                .is_none_or(|head| path.starts_with(head))
        })
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
        let path = match asked {
            Asked::Request(request) => Some(request.path.as_str()),
            Asked::Other => None,
        };
        for at in self.naming(host) {
            let Some((rule, brief)) = policy.network.allow.get(at).zip(self.briefs.get(at)) else {
                continue;
            };
            let another = |p: u16| match brief.port {
                Some(own) => own != p,
                None => !rule.ports.contains(&p),
            };
            // A rule that was found by a name names it; an address is looked for in every network.
            let named = matches!(host, Host::Name(_)) || names(&rule.host, host);
            if !named || port.is_some_and(another) {
                continue;
            }
            found.intercept |= brief.intercepts;
            if path.is_some_and(|path| !self.may_name(brief, path)) {
                continue;
            }
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
