//! The plan: immutable, printable, complete.
use crate::capabilities::Engine;
use crate::cgroup::CgroupPlan;
use crate::environment::EnvVar;
use crate::network::NetworkPlan;
use crate::view::View;
use qila_types::{Bytes, Millis, Tier};
use qila_wire::{Accounting, Landlock, Limit};
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// Users and capabilities.
    User,
    /// Mounts.
    Mount,
    /// Process ids.
    Pid,
    /// Network.
    Net,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host name.
    Uts,
    /// Root of the cgroup tree.
    Cgroup,
}

/// How one clause is enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Enforcement {
    /// The clause, `resources.memory` for instance.
    pub clause: &'static str,
    /// By what.
    pub by: String,
    /// Whether it is a weaker mechanism than the tier's own, and can be refused by asking for `hard`.
    pub weaker: bool,
}

/// Limits that the launcher itself watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timers {
    /// Time from start to end.
    pub wall_time: Option<Millis>,
    /// Bytes of output.
    pub output: Option<Bytes>,
    /// Bytes in the workspace layer, sampled.
    pub layer: Option<Bytes>,
}

/// What of a plan builds the sandbox: all that is executed before there is a program in it. It can be handed to a launcher in
/// another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walls {
    pub(crate) tier: Tier,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) view: View,
    pub(crate) network: NetworkPlan,
    pub(crate) cgroup: CgroupPlan,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<Engine>,
}

/// What is done, in full. Made by [`crate::plan`] only; its fields are read, never written.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    #[serde(flatten)]
    pub(crate) walls: Walls,
    #[serde(serialize_with = "lossy")]
    pub(crate) argv: Vec<Vec<u8>>,
    pub(crate) cwd: String,
    pub(crate) limits: Vec<Limit>,
    pub(crate) cpus: Vec<u32>,
    pub(crate) landlock: Landlock,
    #[serde(skip)]
    pub(crate) filter: Vec<u8>,
    #[serde(skip)]
    pub(crate) engine_filter: Vec<u8>,
    pub(crate) syscalls: String,
    pub(crate) accounting: Option<Accounting>,
    pub(crate) timers: Timers,
    pub(crate) environment: Vec<EnvVar>,
    pub(crate) terminal: bool,
    pub(crate) enforced: Vec<Enforcement>,
    pub(crate) unenforced: Vec<String>,
}

fn lossy<S: Serializer>(argv: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(argv.iter().map(|a| String::from_utf8_lossy(a)))
}

macro_rules! readers {
    ($($(#[$doc:meta])* $name:ident: $t:ty),* $(,)?) => {
        $($(#[$doc])* pub fn $name(&self) -> &$t { &self.$name })*
    };
}

impl Walls {
    readers! {
        /// The tier.
        tier: Tier,
        /// User id outside, and inside where there is no engine.
        uid: u32,
        /// Group id outside, and inside where there is no engine.
        gid: u32,
        /// Namespaces to make.
        namespaces: [Namespace],
        /// The file system that the agent sees.
        view: View,
        /// The network.
        network: NetworkPlan,
        /// Cgroups to make.
        cgroup: CgroupPlan,
        /// The engine that the agent runs in, if there is one. To it the user is user 0 of the sandbox's user namespace.
        engine: Option<Engine>,
    }
}

macro_rules! walls {
    ($($(#[$doc:meta])* $name:ident: $t:ty),* $(,)?) => {
        $($(#[$doc])* pub fn $name(&self) -> &$t { &self.walls.$name })*
    };
}

impl Plan {
    readers! {
        /// What builds the sandbox.
        walls: Walls,
        /// Command and arguments.
        argv: [Vec<u8>],
        /// Working directory inside.
        cwd: str,
        /// Resource limits of each process.
        limits: [Limit],
        /// Processors that the agent may use; empty means all.
        cpus: [u32],
        /// Landlock rules.
        landlock: Landlock,
        /// Seccomp filter, in the kernel's layout.
        filter: [u8],
        /// The same for the engine, if there is one.
        engine_filter: [u8],
        /// Memory accounting by the guest.
        accounting: Option<Accounting>,
        /// Limits that the launcher watches.
        timers: Timers,
        /// The agent's environment.
        environment: [EnvVar],
        /// How each clause is enforced.
        enforced: [Enforcement],
        /// Clauses that the operator chose to go without.
        unenforced: [String],
    }

    walls! {
        /// The tier.
        tier: Tier,
        /// User id inside and outside.
        uid: u32,
        /// Group id inside and outside.
        gid: u32,
        /// Namespaces to make.
        namespaces: [Namespace],
        /// The file system that the agent sees.
        view: View,
        /// The network.
        network: NetworkPlan,
        /// Cgroups to make.
        cgroup: CgroupPlan,
        /// The engine that the agent runs in, if there is one.
        engine: Option<Engine>,
    }

    /// SHA-256 over the printed form, in hexadecimal.
    pub fn digest(&self) -> String {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha256::digest(&bytes);
        digest.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The printed form.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}
