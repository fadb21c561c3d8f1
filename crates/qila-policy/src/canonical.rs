//! One text for one policy.
use crate::model::Policy;
use serde::Serialize;

#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    policy: &'a Policy,
}

/// The policy as JSON on one line, the same for every file that says the same: keys in a fixed order, credentials by
/// name, quantities in their shortest form. For digests and for comparing; it is not a policy.yaml.
///
/// The order of rules and paths is kept: it is the order in which they are shown.
pub fn canonical(policy: &Policy) -> String {
    // The types hold only strings, numbers and lists, which always serialise; an empty text could be mistaken for a
    // policy, so the impossible error is spelled out as itself.
    serde_json::to_string(&Versioned { version: 1, policy })
        .unwrap_or_else(|e| format!("unserialisable: {e}"))
}
