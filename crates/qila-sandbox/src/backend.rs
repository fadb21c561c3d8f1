//! What a tier must be able to do.
use crate::error::LaunchError;
use crate::launch::Sandbox;
use qila_plan::{Capabilities, Plan};
use rustix::fd::{BorrowedFd, OwnedFd};

/// The agent's ends of its standard streams. With a terminal in the plan they stay unused.
#[derive(Debug)]
pub struct Stdio {
    /// Standard input.
    pub input: OwnedFd,
    /// Standard output.
    pub output: OwnedFd,
    /// Standard error.
    pub error: OwnedFd,
}

/// One isolation tier.
pub trait Backend {
    /// What it can do, as data.
    fn capabilities(&self) -> Capabilities;

    /// Makes the sandbox of a plan, up to the point where its view and network are being built. `guest` is the guest's
    /// program.
    fn launch(&self, plan: &Plan, guest: BorrowedFd<'_>, stdio: Stdio) -> Result<Sandbox, LaunchError>;
}
