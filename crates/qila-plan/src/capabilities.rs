//! What a tier can do, as data that its backend states.
use crate::plan::Namespace;
use qila_types::Tier;
use serde::{Deserialize, Serialize};

/// A program of the host in which the agent runs, with a kernel of its own for the agent; itself inside the walls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// The program, absolute.
    pub program: String,
    /// What keeps the agent's system calls from the host's kernel, for a person.
    pub name: String,
}

/// Why a tier cannot run on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Why.
    pub reason: String,
    /// What a person can do about it.
    pub fix: String,
}

/// What a tier can do, as data that its backend states.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// The tier.
    pub tier: Tier,
    /// Namespaces that it always makes.
    pub namespaces: &'static [Namespace],
    /// cgroup controllers that it uses where the host lets it.
    pub controllers: &'static [&'static str],
    /// Why it cannot run on this host; none where it can.
    pub missing: Option<Missing>,
    /// The engine that the agent runs in, if the tier has one.
    pub engine: Option<Engine>,
    /// Why it is used only by a policy that names it, if that is so.
    pub by_name: Option<&'static str>,
}

impl Capabilities {
    /// Whether the tier uses this cgroup controller.
    pub fn uses(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// Whether the tier makes this namespace.
    pub fn makes(&self, namespace: Namespace) -> bool {
        self.namespaces.contains(&namespace)
    }
}
