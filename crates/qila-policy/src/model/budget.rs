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
