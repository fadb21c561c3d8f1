//! What goes wrong. No message holds a secret, nor what a provider said word by word.
use crate::reply::why;
use crate::revocation::Revocation;

/// Why a provider minted nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The private key is not one.
    #[error("the private key is no RSA key in PEM of at least 2048 bits")]
    Key,
    /// The URL is not one.
    #[error("the provider's URL is none")]
    Url,
    /// The provider says no.
    #[error("{provider} answers {status}{why}; {hint}")]
    Refused {
        /// Who.
        provider: &'static str,
        /// Its status.
        status: u16,
        /// Its reason, cut and cleaned, behind a colon.
        why: String,
        /// What to look at.
        hint: &'static str,
    },
    /// The answer is not what this provider's API says.
    #[error("{provider} answers with {what}")]
    Reply {
        /// Who.
        provider: &'static str,
        /// What is wrong with it.
        what: String,
        /// Something was minted all the same: how it is taken back.
        left: Option<Box<Revocation>>,
    },
}

/// Why something was not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{provider} answers {status}{why}")]
pub struct RevokeError {
    /// Who.
    pub provider: &'static str,
    /// Its status.
    pub status: u16,
    /// Its reason, cut and cleaned, behind a colon.
    pub why: String,
}

impl MintError {
    pub(crate) fn refused(provider: &'static str, status: u16, body: &[u8], hint: &'static str) -> MintError {
        MintError::Refused {
            provider,
            status,
            why: why(body),
            hint,
        }
    }

    pub(crate) fn reply(provider: &'static str, what: &str, left: Option<Revocation>) -> MintError {
        MintError::Reply {
            provider,
            what: what.to_owned(),
            left: left.map(Box::new),
        }
    }

    /// How what was minted is taken back, though it is of no use.
    pub fn left(&self) -> Option<&Revocation> {
        match self {
            MintError::Reply { left, .. } => left.as_deref(),
            _ => None,
        }
    }
}

impl RevokeError {
    pub(crate) fn of(provider: &'static str, status: u16, body: &[u8]) -> RevokeError {
        RevokeError {
            provider,
            status,
            why: why(body),
        }
    }
}
