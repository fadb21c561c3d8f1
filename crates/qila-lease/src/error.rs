//! What goes wrong. No message holds a secret, nor what a provider said word by word.

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
