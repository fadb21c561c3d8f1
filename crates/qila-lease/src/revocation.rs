//! How a credential is taken back.
use crate::call::Call;
use crate::error::RevokeError;
use crate::{github, oauth2, vault};
use serde::{Deserialize, Serialize};

/// All that is needed to take a credential back. It holds secrets, and prints none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// A lease of Vault's.
    Vault(vault::Lease),
    /// A token of OAuth 2.0's.
    Oauth2(oauth2::Granted),
    /// A token of GitHub's.
    Github(github::Installed),
}

impl Revocation {
    /// What to send.
    pub fn call(&self) -> Call {
        match self {
            Revocation::Vault(r) => r.call(),
            Revocation::Oauth2(r) => r.call(),
            Revocation::Github(r) => r.call(),
        }
    }

    /// Reads what came back. What was over already counts as taken back.
    pub fn read(&self, status: u16, body: &[u8]) -> Result<(), RevokeError> {
        match self {
            Revocation::Vault(r) => r.read(status, body),
            Revocation::Oauth2(r) => r.read(status, body),
            Revocation::Github(r) => r.read(status, body),
        }
    }
}

/// Feeds hostile bytes to the readers.
pub(crate) fn fuzz(status: u16, body: &[u8]) {
    if let Ok(revocation) = serde_json::from_slice::<Revocation>(body) {
        let _ = revocation.call();
        let _ = revocation.read(status, body);
    }
}
