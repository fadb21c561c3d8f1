//! Asking for a sandbox.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What happens when a sandbox's time is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// It is ended, and what it held is gone.
    #[default]
    Kill,
    /// It is paused.
    Pause,
}

/// What a sandbox may reach, below what its template's policy allows: a wish can narrow that and never widen it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkWish {
    /// False: nothing at all leaves.
    pub internet: Option<bool>,
    /// If not empty: only these host names, `*.` before one standing for all beneath it, IPv4 addresses and networks.
    pub allow: Vec<String>,
    /// None of these.
    pub deny: Vec<String>,
}

/// What a sandbox is asked for with.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    /// Template, by name or id.
    pub template: String,
    /// Time after which it ends or is paused; none: the template's.
    pub timeout: Option<Duration>,
    /// What happens then.
    pub on_timeout: OnTimeout,
    /// Whether a paused one comes back by itself when it is spoken to.
    pub auto_resume: bool,
    /// The tenant's own words about it.
    pub metadata: BTreeMap<String, String>,
    /// Environment variables of every process in it.
    pub environment: BTreeMap<String, String>,
    /// What it may reach.
    pub network: NetworkWish,
    /// Whether whoever speaks to its files and processes must show its own access token.
    pub secure: bool,
    /// Ports need the traffic token.
    pub private_ports: bool,
    /// Makes a repeated request answer the sandbox of the first.
    pub idempotency_key: Option<String>,
}

impl Create {
    /// From a template, everything else by default.
    pub fn from_template(template: impl Into<String>) -> Create {
        Create {
            template: template.into(),
            timeout: None,
            on_timeout: OnTimeout::Kill,
            auto_resume: false,
            metadata: BTreeMap::new(),
            environment: BTreeMap::new(),
            network: NetworkWish::default(),
            secure: false,
            private_ports: false,
            idempotency_key: None,
        }
    }
}

/// What a fork is asked for with: what is not said is as it is in the sandbox that is forked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fork {
    /// Time of the new one.
    pub timeout: Option<Duration>,
    /// Its metadata instead.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Makes a repeated request answer the sandbox of the first.
    pub idempotency_key: Option<String>,
}
