//! Authority as a value: nothing runs on a [`Policy`], only on a [`Permit`].
use crate::model::Policy;

/// The operator's own rules, which no policy exceeds.
#[derive(Debug, Clone, Default)]
pub struct Constitution {}

/// A policy that was checked and brought under the constitution. Only this crate makes one.
#[derive(Debug, Clone)]
pub struct Permit {
    policy: Policy,
}

impl Permit {
    /// Brings a policy under the constitution.
    pub fn grant(policy: Policy, _constitution: &Constitution) -> Permit {
        Permit { policy }
    }

    /// The policy as permitted.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}
