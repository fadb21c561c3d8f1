//! The process tier: Landlock, seccomp and rlimits in a private view with a locked network.
//!
//! It shares the host name, System V IPC (which seccomp therefore denies) and cgroups with the host, makes no cgroup for an
//! unprivileged user, and needs nothing but user namespaces.
#![forbid(unsafe_code)]

use qila_plan::Namespace::*;
use qila_plan::{Capabilities, Plan};
use qila_sandbox::{Backend, LaunchError, Sandbox, Stdio};
use qila_types::Tier;
use rustix::fd::BorrowedFd;

/// The process tier.
#[derive(Debug, Clone, Copy)]
pub struct Process;

impl Backend for Process {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            tier: Tier::Process,
            namespaces: &[User, Mount, Pid, Net],
            controllers: &[],
            missing: None,
            engine: None,
            by_name: None,
        }
    }

    fn launch(&self, plan: &Plan, guest: BorrowedFd<'_>, stdio: Stdio) -> Result<Sandbox, LaunchError> {
        Sandbox::spawn(plan, guest, stdio)
    }
}
