//! What is remembered of a sandbox: enough to look after it again after the node's process was killed.
use crate::template::Root;
use qila_api::{NetworkWish, OnTimeout, Sandbox, SandboxId, State, Tenant};
use qila_plan::{CgroupPlan, Walls};
use qila_wire::served::Cage;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a sandbox has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// It works.
    Running,
    /// It stands still.
    Paused,
}

/// What is remembered of a sandbox.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub id: SandboxId,
    pub tenant: Tenant,
    /// In whose cgroup it is.
    pub housed: Tenant,
    pub template: String,
    pub alias: Option<String>,
    pub phase: Phase,
    pub made_ms: u64,
    pub ends_ms: u64,
    pub on_timeout: OnTimeout,
    pub auto_resume: bool,
    pub metadata: BTreeMap<String, String>,
    /// `NAME=value` of every program.
    pub environment: Vec<String>,
    /// The variables that it was asked for with.
    pub words: BTreeMap<String, String>,
    pub network: NetworkWish,
    pub access_token: Option<String>,
    pub traffic_token: Option<String>,
    pub tier: String,
    pub cpu_milli: u32,
    pub memory_mib: u64,
    pub disk_mib: u64,
    /// Home directory inside.
    pub home: String,
    /// Whether its home is layers on the host, which can be kept and forked.
    pub layered: bool,
    /// What its layer lies on, the uppermost first.
    pub lower: Vec<String>,
    /// Where its system directories come from.
    #[serde(default)]
    pub root: Option<Root>,
    /// Its first process as the host counts, and when that was started: together they name it.
    pub pid: i32,
    pub born: u64,
    pub cgroup: CgroupPlan,
    /// Most bytes in the layer.
    pub layer_limit: Option<u64>,
    /// Longest time that it may run in all, by its policy.
    pub longest_ms: Option<u64>,
    pub idempotency_key: Option<String>,
    /// SHA-256 of its policy.
    pub policy_digest: String,
    /// Names of the credentials that its gateway holds, and what stands for them inside.
    pub placeholders: Vec<(String, String)>,
    /// Whether anything may leave.
    pub networked: bool,
    /// Whether providers mint credentials for it.
    pub mints: bool,
    /// Key of its certificate authority, as PEM.
    pub authority: Option<String>,
    /// Most bytes that one of its programs may say.
    pub output_limit: Option<u64>,
    /// Whether it waits in its template's pool for somebody to take it.
    #[serde(default)]
    pub pooled: bool,
    /// Whether a warm program lives in it.
    #[serde(default)]
    pub zygote: bool,
    /// The sandbox of the warm program beneath whose it was made, and what a fork has to know of it.
    #[serde(default)]
    pub beneath: Option<Beneath>,
    /// A change of its layer that was begun.
    #[serde(default)]
    pub moving: Option<Moving>,
}

/// A layer on its way.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Moving {
    /// What it is called among the shared ones.
    pub name: String,
    /// What was mounted at the home before.
    pub mount: u64,
    /// What the sandbox lies on once it is done.
    pub lower: Vec<String>,
}

/// What a sandbox that may receive forks was made from.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Beneath {
    /// The sandbox of the warm program.
    pub above: SandboxId,
    pub walls: Walls,
    pub cage: Cage,
}

impl Record {
    /// As it is told to whoever asks.
    pub(crate) fn tell(&self) -> Sandbox {
        let secret = |text: &Option<String>| text.clone().map(SecretString::from);
        Sandbox {
            id: self.id.clone(),
            tenant: self.tenant.clone(),
            template: self.template.clone(),
            alias: self.alias.clone(),
            state: match self.phase {
                Phase::Paused => State::Paused,
                Phase::Running => State::Running,
            },
            started_ms: self.made_ms,
            ends_ms: self.ends_ms,
            on_timeout: self.on_timeout,
            metadata: self.metadata.clone(),
            cpu_milli: self.cpu_milli,
            memory_mib: self.memory_mib,
            disk_mib: self.disk_mib,
            access_token: secret(&self.access_token),
            traffic_token: secret(&self.traffic_token),
            tier: self.tier.clone(),
        }
    }
}
