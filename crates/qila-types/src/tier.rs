//! The five isolation tiers.
use serde::{Deserialize, Serialize};
use std::fmt;

/// An isolation tier, ordered from the weakest wall to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Landlock, seccomp, rlimits and the locked network around a private view of the host.
    Process,
    /// All namespaces, a private root, cgroup limits, with Landlock and seccomp as second walls.
    Container,
    /// The same plan handed to `runsc`.
    Gvisor,
    /// A guest kernel under QEMU or Firecracker.
    Microvm,
    /// A hardware enclave or confidential VM.
    Enclave,
}

impl Tier {
    /// Every tier, weakest first.
    pub const ALL: [Tier; 5] = [
        Tier::Process,
        Tier::Container,
        Tier::Gvisor,
        Tier::Microvm,
        Tier::Enclave,
    ];

    /// The word used in policies and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Process => "process",
            Tier::Container => "container",
            Tier::Gvisor => "gvisor",
            Tier::Microvm => "microvm",
            Tier::Enclave => "enclave",
        }
    }

    /// The tier with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Tier> {
        Tier::ALL.into_iter().find(|t| t.as_str() == name)
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
