//! Why an operation was not carried out.
use std::time::Duration;

/// What kind of failure it is: each face maps it to a status of its own protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// There is no such thing, or it is another tenant's.
    NotFound,
    /// The request makes no sense: a bad value, a path that is no path.
    Invalid,
    /// The request makes sense, and cannot be done as things stand: the sandbox is paused, the file is there already.
    Conflict,
    /// A clause of the policy, or a tier, does not allow it.
    Refused,
    /// A quota of the tenant is used up.
    Quota,
    /// The machine is full or busy for now.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The sandbox's disk is full.
    NoSpace,
    /// It took longer than it may.
    Timeout,
    /// What the sandbox held is gone: it ended while it was asked.
    Gone,
    /// Not in this build, or not on this tier.
    Unsupported,
    /// A failure of the node itself.
    Internal,
}

/// Why an operation was not carried out. The text is for whoever asked; what is internal goes to the log of the server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure it is.
    pub kind: Kind,
    /// What happened, for whoever asked.
    pub message: String,
    /// The clause of the policy, `network.allow` for instance.
    pub clause: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl ApiError {
    /// An error of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> ApiError {
        ApiError {
            kind,
            message: message.into(),
            clause: None,
            hint: None,
        }
    }

    /// There is no such thing.
    pub fn not_found(what: impl Into<String>) -> ApiError {
        ApiError::new(Kind::NotFound, what)
    }

    /// The request makes no sense.
    pub fn invalid(what: impl Into<String>) -> ApiError {
        ApiError::new(Kind::Invalid, what)
    }

    /// Names the clause.
    #[must_use]
    pub fn clause(mut self, clause: impl Into<String>) -> ApiError {
        self.clause = Some(clause.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> ApiError {
        self.hint = Some(hint.into());
        self
    }
}
