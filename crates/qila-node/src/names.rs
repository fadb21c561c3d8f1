//! New names and tokens.
use crate::clock::now_ms;
use crate::fault::internal;
use qila_api::{ApiError, SandboxId};
use qila_types::RunId;

fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes).map_err(|e| internal("no random numbers", &e))?;
    Ok(bytes)
}

/// A new name for a sandbox, which is also the name of its run in the evidence.
pub(crate) fn sandbox() -> Result<SandboxId, ApiError> {
    let id = RunId::from_parts(now_ms(), u64::from_ne_bytes(random()?));
    SandboxId::parse(id.as_str()).map_err(|e| internal("making a name", &e))
}

/// A new token: 256 random bits in hexadecimal.
pub(crate) fn token() -> Result<String, ApiError> {
    Ok(random::<32>()?.iter().map(|b| format!("{b:02x}")).collect())
}

/// The bits of a placeholder.
pub(crate) fn placeholder() -> Result<[u8; 20], ApiError> {
    random()
}
