//! What every connection shares.
use crate::ca::Authority;
use crate::connection::Destination;
use crate::dial::Dialler;
use crate::names::Names;
use crate::rate::Bucket;
use crate::recorder::Recorder;
use crate::secrets::Secrets;
use crate::tls::Outward;
use qila_authorizer::{Authorizer, Verdict};
use qila_policy::model::Policy;
use qila_types::{Access, Decision};
use std::cell::RefCell;

/// The gateway of one run.
pub(crate) struct Gate {
    pub(crate) authorizer: Authorizer,
    pub(crate) secrets: Secrets,
    pub(crate) recorder: Recorder,
    pub(crate) names: RefCell<Names>,
    pub(crate) dialler: Dialler,
    pub(crate) outward: Outward,
    /// None where no rule intercepts.
    pub(crate) authority: Option<Authority>,
    pub(crate) rates: Rates,
}

/// The policy's rates.
pub(crate) struct Rates {
    pub(crate) connections: Option<Bucket>,
    pub(crate) requests: Option<Bucket>,
    pub(crate) upload: Option<Bucket>,
    pub(crate) download: Option<Bucket>,
    rules: Vec<Option<Bucket>>,
}

impl Rates {
    /// Those of a policy.
    pub(crate) fn of(policy: &Policy) -> Rates {
        let rates = &policy.network.rates;
        Rates {
            connections: rates.connections.map(Bucket::of_rate),
            requests: rates.requests.map(Bucket::of_rate),
            upload: rates.upload.map(Bucket::of_bytes),
            download: rates.download.map(Bucket::of_bytes),
            rules: policy
                .network
                .allow
                .iter()
                .map(|r| r.rate.map(Bucket::of_rate))
                .collect(),
        }
    }

    /// Takes one request, or one connection that is only passed through, of a rule's rate.
    pub(crate) fn of_rule(&self, rule: Option<usize>) -> bool {
        let bucket = rule.and_then(|r| self.rules.get(r)).and_then(Option::as_ref);
        bucket.is_none_or(Bucket::try_take)
    }
}

impl Gate {
    /// Whether some credential may go to this host, so that it might come back from there.
    pub(crate) fn may_echo(&self, host: &Destination) -> bool {
        let mut at = 0;
        while self.secrets.get(at).is_some() {
            if self.authorizer.may_receive(at, host.as_host()) {
                return true;
            }
            at += 1;
        }
        false
    }

    /// A verdict as the log keeps it.
    pub(crate) fn decision(&self, access: Access, verdict: &Verdict) -> Decision {
        let name = verdict
            .credential
            .and_then(|c| self.secrets.get(c))
            .map(|s| s.name.clone());
        Decision {
            access,
            allowed: verdict.allowed,
            rule: verdict.rule.map(|r| format!("network.allow[{r}]")),
            credential: name.filter(|_| verdict.allowed),
            reason: verdict.reason.clone(),
        }
    }
}

/// A denial as the log keeps it.
pub(crate) fn denied(access: Access, reason: impl Into<String>) -> Decision {
    Decision {
        access,
        allowed: false,
        rule: None,
        credential: None,
        reason: reason.into(),
    }
}
