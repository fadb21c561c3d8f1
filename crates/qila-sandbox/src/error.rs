//! Why a launch failed.
use rustix::io::Errno;

/// A step of a launch failed; what was made before it has been undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// A step on the host's side.
    #[error("{step}: {errno}")]
    Step {
        /// What was being done.
        step: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A step inside the new namespaces.
    #[error("inside the sandbox, {step}: {errno}")]
    Inside {
        /// What was being done.
        step: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The program could not be started.
    #[error("{0}")]
    Program(Errno),
    /// The sandbox ended or spoke out of turn.
    #[error("the sandbox ended while it was being built ({0})")]
    Vanished(&'static str),
}

/// Names a step.
pub(crate) fn step<T>(name: impl Into<String>, result: Result<T, Errno>) -> Result<T, LaunchError> {
    result.map_err(|errno| LaunchError::Step {
        step: name.into(),
        errno,
    })
}
