//! What a person is told when something cannot be done.
use std::path::Path;

/// A failure: what, why, and what to do. Printed once, at the edge.
#[derive(Debug)]
pub(crate) struct Fail {
    /// What could not be done and why.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Exit code.
    pub code: u8,
    /// The clause of the policy, or the input, that stands in the way, for the evidence.
    pub clause: Option<String>,
}

/// An error with the causes behind it, each said once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Exit code for a failure of Qila's own before the agent started.
pub(crate) const OWN: u8 = 125;

impl Fail {
    /// A failure with the usual exit code.
    pub(crate) fn new(message: impl Into<String>) -> Fail {
        Fail {
            message: message.into(),
            hint: None,
            code: OWN,
            clause: None,
        }
    }

    /// A failure of a system call on a path.
    pub(crate) fn io(what: &str, path: &Path, error: std::io::Error) -> Fail {
        Fail::new(format!("{what} {}: {error}", path.display()))
    }

    /// Says what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Fail {
        let hint = hint.into();
        if !hint.is_empty() {
            self.hint = Some(hint);
        }
        self
    }

    /// Says first in what this ended.
    pub(crate) fn prefix(mut self, prefix: &str) -> Fail {
        self.message.insert_str(0, prefix);
        self
    }

    /// Names the clause or the input.
    pub(crate) fn clause(mut self, clause: impl Into<String>) -> Fail {
        self.clause = Some(clause.into());
        self
    }

    /// Sets the exit code.
    pub(crate) fn code(mut self, code: u8) -> Fail {
        self.code = code;
        self
    }
}

impl std::fmt::Display for Fail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "qila: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  try: {hint}")?;
        }
        Ok(())
    }
}
