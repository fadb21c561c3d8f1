//! What an agent may spend, and what is kept of what it said to models.
use super::network::HostPattern;
use qila_types::{Bytes, Millis, Money, Tokens};
use serde::Serialize;
use std::fmt;

/// A bound on one quantity. Every budget holds by itself: what one of them does not allow is not spent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Budget {
    /// Of what, and how much at most.
    pub amount: Amount,
    /// Whose spending is added up.
    pub per: Per,
    /// Spending at these hosts only; none means at any.
    pub host: Option<HostPattern>,
    /// The window after which it begins anew; none means never, as long as the run or the agent's ledger lives.
    pub window: Option<Millis>,
}

impl Budget {
    /// Whether whoever holds to this budget holds to `other` as well: it bounds the same quantity at no more, over no less.
    pub fn implies(&self, other: &Budget) -> bool {
        let amount = self.amount.what() == other.amount.what() && self.amount.value() <= other.amount.value();
        let host = match (&self.host, &other.host) {
            (None, _) => true,
            (Some(own), Some(host)) => own.covers(host),
            (Some(_), None) => false,
        };
        // What all runs of an agent spend together, one of them does not exceed; nor does one host what all hosts do.
        let per = match (self.per, other.per) {
            (a, b) if a == b => true,
            (Per::Agent, Per::Run | Per::Host) | (Per::Run, Per::Host) => true,
            _ => false,
        };
        // Windows lie side by side: those of a multiple of the length hold whole ones.
        let window = match (self.window, other.window) {
            (None, _) => true,
            (Some(own), Some(window)) => window.0 > 0 && own.0.is_multiple_of(window.0),
            (Some(_), None) => false,
        };
        amount && host && per && window
    }
}

/// A quantity and its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// Money, as the prices of models say.
    Money(Money),
    /// Tokens of models, in and out.
    Tokens(Tokens),
    /// Requests (or connections, where not intercepted).
    Requests(u64),
    /// Bytes, up and down.
    Bytes(Bytes),
}

impl Amount {
    /// What is counted, as the policy calls it.
    pub fn what(&self) -> &'static str {
        match self {
            Amount::Money(_) => "money",
            Amount::Tokens(_) => "tokens",
            Amount::Requests(_) => "requests",
            Amount::Bytes(_) => "bytes",
        }
    }

    /// The bound as a bare number: micro-dollars, tokens, requests or bytes.
    pub fn value(&self) -> u64 {
        match self {
            Amount::Money(Money(n))
            | Amount::Tokens(Tokens(n))
            | Amount::Requests(n)
            | Amount::Bytes(Bytes(n)) => *n,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amount::Money(money) => write!(f, "{money}"),
            Amount::Tokens(tokens) => write!(f, "{tokens} tokens"),
            Amount::Requests(n) => write!(f, "{n} requests"),
            Amount::Bytes(bytes) => write!(f, "{bytes}"),
        }
    }
}

/// Whose spending is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// One run's.
    Run,
    /// All runs' of an agent, by the name that `qila run --agent` gives (default: the policy file's).
    Agent,
    /// One run's, at each host by itself.
    Host,
}

impl Per {
    /// Its word in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            Per::Run => "run",
            Per::Agent => "agent",
            Per::Host => "host",
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.amount, self.per.as_str())?;
        if let Some(host) = &self.host {
            write!(f, " at {host}")?;
        }
        match self.window {
            Some(window) => write!(f, " in {window}"),
            None => Ok(()),
        }
    }
}

/// What the traces of model calls keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traces {
    /// Of text and reasoning.
    pub content: TraceContent,
}

/// What is kept of the text and reasoning of a model call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceContent {
    /// Nothing at all.
    None,
    /// Its hash: that it was said can be shown, not what.
    #[default]
    Hash,
    /// Itself, redacted.
    Keep,
}

impl TraceContent {
    /// Its word in the policy.
    pub fn as_str(self) -> &'static str {
        match self {
            TraceContent::None => "none",
            TraceContent::Hash => "hash",
            TraceContent::Keep => "keep",
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_budget_implies_what_is_looser() {
        let read = |text: &str| {
            let file = format!(
                "version: 1\nnetwork: {{allow: [{{host: a.org, methods: [GET]}}, {{host: \"*.b.org\", methods: [GET]}}]}}\nbudgets: [{{{text}}}]\n"
            );
            let policy = crate::parse("p", &file, &mut crate::NoFiles).unwrap();
            policy.budgets.into_iter().next().unwrap()
        };
        for (one, other, expected) in [
            ("money: 5 USD", "money: 5 USD", true),
            ("money: 4 USD", "money: 5 USD", true),
            ("money: 6 USD", "money: 5 USD", false),
            ("requests: 1", "bytes: 1KiB", false),
            ("requests: 5, per: agent", "requests: 5", true),
            ("requests: 5", "requests: 5, per: agent", false),
            ("requests: 5", "requests: 5, per: host", true),
            ("requests: 5, per: host", "requests: 5", false),
            ("requests: 5", "requests: 5, host: a.org", true),
            ("requests: 5, host: a.org", "requests: 5", false),
            (
                "requests: 5, host: \"*.b.org\"",
                "requests: 5, host: x.b.org",
                true,
            ),
            ("requests: 5", "requests: 5, window: 1h", true),
            ("requests: 5, window: 1h", "requests: 5", false),
            ("requests: 5, window: 1d", "requests: 5, window: 1h", true),
            ("requests: 5, window: 90m", "requests: 5, window: 1h", false),
        ] {
            let other_text = other.replace("x.b.org", "\"*.b.org\"");
            assert_eq!(read(one).implies(&read(&other_text)), expected, "{one} / {other}");
        }
    }
}
