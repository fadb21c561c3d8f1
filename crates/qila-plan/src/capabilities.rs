//! What a tier can do, as data that its backend states.
use crate::plan::Namespace;
use qila_types::Tier;

/// What a tier can do, as data that its backend states.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// The tier.
    pub tier: Tier,
    /// Namespaces that it always makes.
    pub namespaces: &'static [Namespace],
    /// cgroup controllers that it uses where the host lets it.
    pub controllers: &'static [&'static str],
    /// Why it cannot run yet on any host; none where it can.
    pub missing: Option<&'static str>,
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
