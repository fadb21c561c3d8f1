//! What a policy says, as typed values. The text form is read in `parse`.
mod budget;
mod condition;
mod covers;
mod credential;
mod filesystem;
mod glob;
mod network;
mod resources;
mod rule;
mod source;
mod syscalls;

pub use budget::{Amount, Budget, Per, TraceContent, Traces};
pub use condition::{Condition, Reads};
pub use credential::{Credential, Placement, Placements};
pub use filesystem::{Base, Filesystem, PolicyPath, WorkspaceMode};
pub use glob::{MAX_GLOB, MAX_TEXT, PathGlob, TextGlob};
pub use network::{HostName, HostPattern, HostPatternError, Network, NetworkRates};
pub use resources::{DiskLimit, MemoryLimit, Resources};
pub use rule::{GraphQlKind, GraphQlRule, McpRule, NetRule, READ_BOUND};
pub use source::{Access, Aws, GithubApp, Oauth2, SecretRef, ServiceUrl, Source, Vault};
pub use syscalls::{SyscallBase, Syscalls};

use qila_types::Tier;
use serde::Serialize;
use std::collections::BTreeMap;

/// A whole policy: `extends` resolved, contradictions excluded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policy {
    /// Wanted tier; none means `auto`.
    pub isolation: Option<Tier>,
    /// Limits.
    pub resources: Resources,
    /// What of the file system is seen.
    pub filesystem: Filesystem,
    /// What of the network is reached.
    pub network: Network,
    /// Credentials that the gateway places, never the agent.
    pub credentials: Vec<Credential>,
    /// What may be spent; every one of them holds.
    pub budgets: Vec<Budget>,
    /// What is kept of calls to models.
    pub traces: Traces,
    /// System calls.
    pub syscalls: Syscalls,
    /// Environment variables.
    pub environment: Environment,
}

/// Environment variables that the agent gets; the rest of the caller's are not passed on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Environment {
    /// Names passed on from the caller; a trailing `*` matches a prefix (`LC_*`).
    pub pass: Vec<String>,
    /// Names set to fixed values.
    pub set: BTreeMap<String, String>,
}

impl Environment {
    /// Whether a variable of the caller is passed on.
    pub fn passes(&self, name: &str) -> bool {
        self.pass.iter().any(|pattern| pattern_matches(pattern, name))
    }
}

/// Whether `LC_*` or a plain name matches a variable.
pub(crate) fn pattern_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}
