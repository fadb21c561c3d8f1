//! The one place that names the backends.
#![forbid(unsafe_code)]

use qila_plan::Capabilities;
use qila_sandbox::Backend;
use qila_types::Tier;

/// Every backend, weakest wall first.
pub const ALL: &[&dyn Backend] = &[
    &qila_backend_process::Process,
    &qila_backend_container::Container,
    &qila_backend_gvisor::Gvisor,
];

/// What every backend can do.
pub fn capabilities() -> Vec<Capabilities> {
    ALL.iter().map(|b| b.capabilities()).collect()
}

/// The backend of a tier, if this build has it.
pub fn backend(tier: Tier) -> Option<&'static dyn Backend> {
    ALL.iter().find(|b| b.capabilities().tier == tier).copied()
}
