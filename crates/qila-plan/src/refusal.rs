//! Why a launch is refused (P1).
use qila_types::Tier;

/// A clause that the tier cannot enforce on this host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{clause}: the {tier} tier cannot enforce it here: {reason}")]
pub struct Refusal {
    /// The clause, `resources.memory` for instance.
    pub clause: String,
    /// The tier that was asked.
    pub tier: Tier,
    /// Why it cannot.
    pub reason: String,
    /// What a person can do.
    pub fix: String,
    /// The nearest tier that can, if one of those known can.
    pub nearest: Option<Tier>,
}
