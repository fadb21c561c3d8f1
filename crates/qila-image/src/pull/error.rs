//! Why an image could not be pulled.
use crate::error::ImageError;

/// Why an image could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// What was asked for is no image in a registry.
    #[error("`{reference}` names no image: {why}")]
    Reference {
        /// As it was written.
        reference: String,
        /// Why.
        why: String,
    },
    /// What the caller gave besides.
    #[error("{0}")]
    Options(String),
    /// A host that may not be asked.
    #[error("{host} may not be asked: {why}")]
    Forbidden {
        /// Host and port.
        host: String,
        /// Why.
        why: String,
    },
    /// No answer, or one that is none.
    #[error("asking {host}: {why}")]
    Exchange {
        /// Host and port.
        host: String,
        /// What went wrong.
        why: String,
    },
    /// The registry refuses.
    #[error("{host} answers {status} to {what}")]
    Status {
        /// Host and port.
        host: String,
        /// HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// The registry's answer has other bytes than were asked for.
    #[error("{what} is not what was asked for: {why}")]
    Content {
        /// A digest or a tag.
        what: String,
        /// Why.
        why: String,
    },
    /// A blob that ended early, each time it was asked for.
    #[error("the blob {digest} ended after {have} of {size} bytes")]
    Short {
        /// Its digest.
        digest: String,
        /// Bytes that came.
        have: u64,
        /// Bytes that it has.
        size: u64,
    },
    /// It took too long.
    #[error("the image was not here within {} seconds", .0.as_secs())]
    TimedOut(std::time::Duration),
    /// The image itself, or the store.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl PullError {
    /// Whether nobody knows the image, or it is not for whoever asks: registries do not tell which.
    pub fn is_unknown(&self) -> bool {
        matches!(
            self,
            PullError::Status {
                status: 401 | 403 | 404,
                ..
            }
        )
    }
}
