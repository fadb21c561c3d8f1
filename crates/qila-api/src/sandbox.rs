//! Sandboxes, and what is known of them.
use crate::create::OnTimeout;
use crate::id::{SandboxId, SnapshotId, Tenant};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whether a sandbox works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Running,
    /// Its processes stand still; its files are kept.
    Paused,
}

/// A sandbox.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Its name.
    pub id: SandboxId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Id of its template.
    pub template: String,
    /// Name of its template, where it has one.
    pub alias: Option<String>,
    /// Whether it works.
    pub state: State,
    /// When it was made, in Unix milliseconds.
    pub started_ms: u64,
    /// When its time is over, in Unix milliseconds.
    pub ends_ms: u64,
    /// What happens then.
    pub on_timeout: OnTimeout,
    /// The tenant's own words about it.
    pub metadata: BTreeMap<String, String>,
    /// Processors, in thousandths.
    pub cpu_milli: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in MiB.
    pub disk_mib: u64,
    /// What has to be shown to speak to its files and processes, if anything has.
    pub access_token: Option<SecretString>,
    /// What has to be shown to reach its ports, if anything has.
    pub traffic_token: Option<SecretString>,
    /// Isolation tier.
    pub tier: String,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these states; all if empty.
    pub states: Vec<State>,
    /// Only those whose metadata has all of these.
    pub metadata: BTreeMap<String, String>,
    /// Only those of this template, by name or id.
    pub template: Option<String>,
}

/// Where a list goes on, as the list before it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub String);

/// Part of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// Items, newest first.
    pub items: Vec<T>,
    /// Where the list goes on, if it does.
    pub next: Option<Cursor>,
}

/// What a sandbox uses at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Unix milliseconds.
    pub time_ms: u64,
    /// Processors that it may use.
    pub cpu_count: u32,
    /// How much of them it used, in per cent of all of them, since the measurement before.
    pub cpu_percent: f64,
    /// Memory in use, bytes.
    pub memory_used: u64,
    /// Memory that it may use, bytes.
    pub memory_total: u64,
    /// Files that it wrote, bytes.
    pub disk_used: u64,
    /// What it may write, bytes.
    pub disk_total: u64,
}

/// One line of a sandbox's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Unix milliseconds.
    pub time_ms: u64,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// What happened.
    pub message: String,
    /// More about it.
    pub fields: BTreeMap<String, String>,
}

/// What happened to a sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number: later events have larger ones, without end over restarts.
    pub seq: u64,
    /// Unix milliseconds.
    pub time_ms: u64,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// `created`, `paused`, `resumed`, `extended`, `snapshotted`, `forked`, `rolled_back`, `ended` or `limit`.
    pub kind: String,
    /// More about it: for `ended` a `reason`, for `limit` a `clause`.
    pub fields: BTreeMap<String, String>,
}

/// Files of a sandbox as they were at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub id: SnapshotId,
    /// The sandbox of which it was taken.
    pub sandbox: SandboxId,
    /// Template of that sandbox.
    pub template: String,
    /// A name given to it.
    pub name: Option<String>,
    /// When, in Unix milliseconds.
    pub taken_ms: u64,
}
