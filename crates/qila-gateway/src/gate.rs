//! What every connection shares.
use crate::ca::Authority;
use crate::call::Call;
use crate::destination::Destination;
use crate::dial::Dialler;
use crate::door::Door;
use crate::http::Lines;
use crate::keeper::Left;
use crate::names::Names;
use crate::rate::Bucket;
use crate::recorder::Recorder;
use crate::secrets::Secrets;
use crate::spend::Spending;
use crate::tls::Outward;
use qila_authorizer::{Access as Ask, Authorizer, CompileError, Verdict};
use qila_meter::Prices;
use qila_policy::Permit;
use qila_policy::model::{HostName, Policy, TraceContent};
use qila_types::{Access, Decision, EventKind};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use tokio::sync::watch;

/// The gateway of one run.
pub(crate) struct Gate {
    rules: RefCell<Rc<Rules>>,
    changed: watch::Sender<u64>,
    pub(crate) secrets: Secrets,
    pub(crate) recorder: Recorder,
    pub(crate) names: RefCell<Names>,
    pub(crate) dialler: Dialler,
    pub(crate) outward: Outward,
    /// None where no rule intercepts.
    pub(crate) authority: Option<Authority>,
    /// None where nothing bounds what is spent.
    pub(crate) spending: Option<Rc<Spending>>,
    /// Hosts of which it was said that an agent made TLS with them and asked for nothing.
    pub(crate) unasked: RefCell<BTreeSet<HostName>>,
    /// Connections to upstreams that are kept for later requests.
    pub(crate) lines: Lines,
    prices: OnceCell<Prices>,
    own_prices: Option<String>,
    calls: RefCell<Vec<Weak<Call>>>,
    /// Of a proxy for programs that are in no sandbox.
    pub(crate) door: Option<Door>,
}

/// One generation of what is allowed. A request holds on to the one that it began under.
pub(crate) struct Rules {
    pub(crate) authorizer: Authorizer,
    pub(crate) rates: Rates,
    /// Rules under which messages of MCP servers come back.
    pub(crate) mcp: Vec<usize>,
    /// What is kept of what models said.
    pub(crate) traces: TraceContent,
    /// Counts from one.
    pub(crate) number: u64,
}

impl Rules {
    /// Of a permit.
    pub(crate) fn of(permit: &Permit, number: u64) -> Result<Rules, CompileError> {
        Ok(Rules {
            authorizer: Authorizer::compile(permit)?,
            rates: Rates::of(permit.policy()),
            mcp: (permit.policy().network.allow.iter().enumerate())
                .filter(|(_, rule)| rule.mcp.is_some())
                .map(|(at, _)| at)
                .collect(),
            traces: permit.policy().traces.content,
            number,
        })
    }
}

/// What a gateway is made of beside its rules.
pub(crate) struct Parts {
    pub(crate) secrets: Secrets,
    pub(crate) recorder: Recorder,
    pub(crate) dialler: Dialler,
    pub(crate) outward: Outward,
    pub(crate) authority: Option<Authority>,
    pub(crate) door: Option<Door>,
    pub(crate) spending: Option<Spending>,
    pub(crate) prices: Option<String>,
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
    /// Puts one together.
    pub(crate) fn new(rules: Rules, parts: Parts) -> Gate {
        Gate {
            changed: watch::Sender::new(rules.number),
            rules: RefCell::new(Rc::new(rules)),
            secrets: parts.secrets,
            recorder: parts.recorder,
            names: RefCell::default(),
            dialler: parts.dialler,
            outward: parts.outward,
            authority: parts.authority,
            door: parts.door,
            spending: parts.spending.map(Rc::new),
            unasked: RefCell::default(),
            lines: Lines::default(),
            prices: OnceCell::new(),
            own_prices: parts.prices,
            calls: RefCell::default(),
        }
    }

    /// The rules in force.
    pub(crate) fn rules(&self) -> Rc<Rules> {
        self.rules.borrow().clone()
    }

    /// Puts other rules in force, for everything that begins from now on. What they no longer allow learns of it.
    pub(crate) fn change(&self, permit: Permit) -> Result<(), String> {
        let policy = permit.policy();
        if self.authority.is_none() && policy.network.allow.iter().any(|r| r.intercepts()) {
            return Err(
                "no rule looked into TLS when the run was started, so that nothing inside trusts the gateway"
                    .into(),
            );
        }
        // Verdicts name credentials by their place in the policy.
        let same = (policy.credentials.iter().map(|c| c.name.as_str())).eq(self.secrets.names());
        if !same {
            return Err("the credentials are not those that the run was started with".into());
        }
        let number = self.rules.borrow().number.saturating_add(1);
        *self.rules.borrow_mut() = Rc::new(Rules::of(&permit, number).map_err(|e| e.to_string())?);
        self.lines.close();
        self.changed.send_replace(number);
        Ok(())
    }

    /// Takes back at their providers what is still in force: the run has ended.
    pub(crate) async fn take_back(&self) {
        let Some(keeper) = self.secrets.keeper() else {
            return;
        };
        // What no provider takes back is out of force with this process.
        for credential in self.secrets.ending() {
            self.recorder.later(EventKind::LeaseRevoked { credential });
        }
        // An error: whoever launched this gateway says of each that nothing is known of it.
        for Left { credential, why } in keeper.finish().await.unwrap_or_default() {
            self.recorder.later(match why {
                None => EventKind::LeaseRevoked { credential },
                Some(reason) => EventKind::LeaseUnrevoked { credential, reason },
            });
        }
    }

    /// Puts credentials out of force for good; all of them if none is named. They are out of force although an error says that a
    /// provider has not taken one back.
    pub(crate) async fn revoke(&self, names: &BTreeSet<String>) -> Result<(), String> {
        let known: BTreeSet<&str> = self.secrets.names().collect();
        if let Some(other) = names.iter().find(|n| !known.contains(n.as_str())) {
            let known: Vec<&str> = known.into_iter().collect();
            return Err(format!(
                "it has no credential `{other}`; it has: {}",
                match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                }
            ));
        }
        let named: Vec<(usize, String)> = (self.secrets.names().enumerate())
            .filter(|(_, name)| names.is_empty() || names.contains(*name))
            .map(|(at, name)| (at, name.to_owned()))
            .collect();
        let mut minted = Vec::new();
        for (at, credential) in named {
            if !self.secrets.revoke(at) {
                continue;
            }
            match self.secrets.lease(at) {
                Some(lease) => minted.push((lease, credential)),
                None => self.recorder.later(EventKind::LeaseRevoked { credential }),
            }
        }
        // All are out of force before the first provider is asked.
        let mut left = Vec::new();
        for (lease, credential) in minted {
            let keeper = self.secrets.keeper().ok_or("nobody takes it back")?;
            match keeper.retire(lease).await {
                Ok(()) => self.recorder.later(EventKind::LeaseRevoked { credential }),
                // The keeper tries once more when the run ends.
                Err(why) => left.push(format!("{credential} ({why})")),
            }
        }
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{} placed no more, but not taken back yet, which is tried again when the run ends",
                left.join(", ")
            )),
        }
    }

    /// What models cost. The operator's own prices were read once already, and found good.
    pub(crate) fn prices(&self) -> &Prices {
        self.prices.get_or_init(|| {
            let built_in = Prices::embedded().unwrap_or_else(|_| Prices::none());
            match &self.own_prices {
                None => built_in,
                Some(text) => built_in.with(text).unwrap_or_else(|_| Prices::none()),
            }
        })
    }

    /// A call of a model is under way.
    pub(crate) fn begun(&self, call: &Rc<Call>) {
        let mut calls = self.calls.borrow_mut();
        calls.retain(|c| c.strong_count() > 0);
        calls.push(Rc::downgrade(call));
    }

    /// Settles and records all that is under way: nothing more will be heard of it.
    pub(crate) fn end(&self) {
        let calls = std::mem::take(&mut *self.calls.borrow_mut());
        calls.iter().filter_map(Weak::upgrade).for_each(|c| c.end());
        if let Some(spending) = &self.spending {
            spending.end();
        }
    }

    /// Waits until rules come into force that no longer allow a connection, and says why they do not.
    pub(crate) async fn withdrawn(&self, to: &Destination, port: u16) -> String {
        let mut changed = self.changed.subscribe();
        loop {
            let verdict = self.rules().authorizer.decide(&Ask::Connect {
                host: to.as_host(),
                port,
            });
            // Bytes that nobody looks at cannot begin to be looked at in the middle.
            if !verdict.allowed || verdict.intercept {
                return format!("the policy was changed: {}", verdict.reason);
            }
            if changed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether some credential may go to this host, so that it might come back from there.
    pub(crate) fn may_echo(&self, host: &Destination) -> bool {
        let (mut at, rules) = (0, self.rules());
        while self.secrets.get(at).is_some() {
            if rules.authorizer.may_receive(at, host.as_host()) {
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
