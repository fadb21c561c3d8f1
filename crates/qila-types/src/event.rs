//! What is written to the evidence log.
use crate::{Millis, RunId, Tier};
use serde::{Deserialize, Serialize};

/// One thing that happened, as the evidence log keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Unix time in milliseconds, by the host's wall clock (which may jump; the log's order is what is proven).
    pub time_ms: u64,
    /// The run it belongs to; none for events of the log itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The log was created.
    LogOpened {
        /// Version of Qila that created it.
        version: String,
    },
    /// A torn tail was found after a crash and cut off.
    LogRecovered {
        /// Bytes that were cut: never part of an acknowledged record.
        dropped_bytes: u64,
    },
    /// Evidence could not be written for a while.
    Gap {
        /// How many events were lost.
        lost: u64,
        /// Why.
        reason: String,
    },
    /// A sandbox is about to be launched; durable before it is.
    Launch {
        /// Chosen tier.
        tier: Tier,
        /// SHA-256 of the resolved policy, in hexadecimal.
        policy_digest: String,
        /// SHA-256 of the plan, in hexadecimal.
        plan_digest: String,
        /// The command and its arguments.
        command: Vec<String>,
        /// The workspace directory on the host.
        workspace: Option<String>,
        /// Clauses that the operator chose to run without (`--allow-unenforced`).
        unenforced: Vec<String>,
    },
    /// The agent's first process runs.
    Started,
    /// Qila refused to launch.
    Refused {
        /// The clause of the policy, or the input, that could not be satisfied.
        clause: String,
        /// Why.
        reason: String,
    },
    /// The gateway allowed or denied an access.
    Decision(Decision),
    /// A credential was minted for the run; durable before first use.
    LeaseCreated {
        /// Its name in the policy.
        credential: String,
    },
    /// A credential's lease ended.
    LeaseRevoked {
        /// Its name in the policy.
        credential: String,
    },
    /// A credential's lease ended here, and its provider has not taken it back: it is tried again, unless that is of no use.
    LeaseUnrevoked {
        /// Its name in the policy.
        credential: String,
        /// Why.
        reason: String,
    },
    /// Somebody asked for credentials of a running sandbox to be put out of force; durable before they are.
    RevocationAsked {
        /// Their names in the policy; all of them if none is named.
        credentials: Vec<String>,
        /// Unix user id of who asked.
        by_uid: u32,
    },
    /// A gateway for programs in no sandbox is about to listen; durable before it does.
    GatewayStarted {
        /// SHA-256 of the resolved policy, in hexadecimal.
        policy_digest: String,
        /// Where it listens.
        address: String,
    },
    /// It has ended.
    GatewayEnded,
    /// The rules of a running sandbox are about to be changed; durable before they are.
    PolicyChanged {
        /// SHA-256 of the policy that comes into force, in hexadecimal.
        policy_digest: String,
        /// Unix user id of who asked.
        by_uid: u32,
    },
    /// A call of a model has ended; what it used.
    ModelCall(Box<ModelCall>),
    /// The agent reached a limit.
    Limit {
        /// The clause, `memory` for instance.
        clause: String,
        /// The limit as the policy writes it.
        limit: String,
        /// Whether the agent was stopped for it.
        stopped: bool,
    },
    /// The agent ended.
    Exit {
        /// How it ended.
        outcome: Outcome,
        /// What it used.
        usage: Usage,
    },
    /// Changes were taken over into the workspace.
    Apply {
        /// Number of paths written, replaced or removed.
        paths: u64,
        /// SHA-256 over the applied changes, in hexadecimal.
        digest: String,
    },
    /// Changes were thrown away.
    Discard,
    /// A sandbox that was made before anybody asked for one was given to a tenant.
    Claimed {
        /// To whom.
        tenant: String,
    },
    /// Somebody asked for the run to be stopped.
    Kill {
        /// Unix user id of who asked.
        by_uid: u32,
    },
    /// What a crashed run left behind was removed.
    Reclaimed {
        /// What was found, one line each.
        found: Vec<String>,
    },
}

/// What a call of a model used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCall {
    /// Where it was sent.
    pub host: String,
    /// The model that was asked for.
    pub model: String,
    /// Tokens of input, cached ones included.
    pub input: u64,
    /// Of these: read from the provider's cache.
    pub cached: u64,
    /// Tokens of output, reasoning included.
    pub output: u64,
    /// What it cost, in millionths of a dollar; none where the model has no known price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
    /// Whether the provider told the usage to the end; else the worst case stands.
    pub exact: bool,
    /// The whole step of the trace.
    pub step: serde_json::Value,
}

/// The gateway's answer to one access, with its reason: the log line, the metric and the decision are this one value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What was asked.
    pub access: Access,
    /// Allowed or not.
    pub allowed: bool,
    /// The rule that decided, as `network.allow[3]`; none where no rule matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The credential that was placed, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Why, in words for a person.
    pub reason: String,
}

/// What the agent tried to reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "access", rename_all = "snake_case")]
pub enum Access {
    /// A name was looked up.
    Dns {
        /// The name, in presentation form, at most 255 characters.
        name: String,
        /// The record type, `A` for instance.
        qtype: String,
    },
    /// A TCP connection, seen as bytes only.
    Connect {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// An HTTP request.
    Http {
        /// Host name.
        host: String,
        /// Port.
        port: u16,
        /// Method.
        method: String,
        /// Path without the query, at most 1,024 characters.
        path: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Exit code of the agent's first process, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Signal that ended it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it ended, if Qila ended it.
    pub reason: StopReason,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum StopReason {
    /// By itself.
    Finished,
    /// A limit of the policy was reached.
    Limit {
        /// The clause, `memory` for instance.
        clause: String,
        /// The limit as the policy writes it.
        limit: String,
    },
    /// `qila kill`, or a signal to Qila.
    Killed,
    /// Evidence could no longer be written, or the gateway died.
    FailedClosed {
        /// What failed.
        what: String,
    },
    /// The supervising process vanished; found out afterwards.
    Orphaned,
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Wall-clock time in milliseconds.
    pub wall_ms: u64,
    /// User and system processor time in milliseconds.
    pub cpu_ms: u64,
    /// Peak memory in bytes; zero where it could not be measured.
    pub peak_memory: u64,
    /// Requests and connections that the gateway allowed.
    pub allowed: u64,
    /// Requests and connections that the gateway denied.
    pub denied: u64,
    /// Bytes the agent wrote to its standard output and error.
    pub output_bytes: u64,
}

impl Usage {
    /// Wall-clock time as a duration.
    pub fn wall(&self) -> Millis {
        Millis(self.wall_ms)
    }
}
