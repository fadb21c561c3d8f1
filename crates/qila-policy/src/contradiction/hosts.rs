//! Rules and credentials name hosts: the two must fit.
use super::{Found, conditions};
use crate::error::Contradiction;
use crate::model::{Credential, HostPattern, NetRule};
use crate::parse::Draft;
use crate::parse::keys::nearest;
use std::collections::HashMap;

pub(super) fn find(draft: &Draft, out: &mut Vec<Found>) {
    let policy = &draft.policy;
    let by_name: HashMap<&str, &Credential> =
        policy.credentials.iter().map(|c| (c.name.as_str(), c)).collect();
    let mut rules_of: HashMap<&str, Vec<&NetRule>> = HashMap::new();
    let marks = draft.marks.allow.iter().zip(&draft.marks.allow_parts);
    for (rule, (at, parts)) in policy.network.allow.iter().zip(marks) {
        if let (HostPattern::Net(_), Some(what)) = (&rule.host, rule.reason_to_intercept()) {
            let host = rule.host.to_string();
            out.push((
                *at,
                "network.allow".to_owned(),
                Contradiction::AddressIntercepted { host, what },
            ));
        }
        let Some(name) = &rule.credential else { continue };
        rules_of.entry(name).or_default().push(rule);
        let contradiction = match by_name.get(name.as_str()) {
            None => Contradiction::Undefined {
                credential: name.clone(),
                nearest: nearest(name, by_name.keys().copied()),
            },
            Some(credential) if !credential.hosts.iter().any(|h| h.covers(&rule.host)) => {
                Contradiction::HostNotCovered {
                    host: rule.host.to_string(),
                    credential: name.clone(),
                }
            }
            Some(credential) => {
                conditions::on_credential(rule, parts, credential, out);
                continue;
            }
        };
        out.push((parts.credential, "network.allow".to_owned(), contradiction));
    }
    let marks = draft.marks.credentials.iter().zip(&draft.marks.credential_hosts);
    for (credential, (at, host_marks)) in policy.credentials.iter().zip(marks) {
        let clause = format!("credentials.{}", credential.name);
        let Some(rules) = rules_of.get(credential.name.as_str()) else {
            out.push((
                *at,
                clause,
                Contradiction::Unused {
                    credential: credential.name.clone(),
                },
            ));
            continue;
        };
        for (host, at) in credential.hosts.iter().zip(host_marks) {
            let text = host.to_string();
            let clause = format!("{clause}.hosts");
            if matches!(host, HostPattern::Net(_)) {
                let what = "a credential";
                out.push((
                    *at,
                    clause,
                    Contradiction::AddressIntercepted { host: text, what },
                ));
            } else if !rules.iter().any(|r| r.host.covers(host) || host.covers(&r.host)) {
                let credential = credential.name.clone();
                out.push((
                    *at,
                    clause,
                    Contradiction::HostNotAllowed {
                        credential,
                        host: text,
                    },
                ));
            }
        }
    }
}
