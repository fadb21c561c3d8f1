//! The container tier: every namespace, a private root, cgroup limits; Landlock and seccomp as second walls.
#![forbid(unsafe_code)]

use qila_plan::Namespace::*;
use qila_plan::{Capabilities, Plan};
use qila_sandbox::{Backend, LaunchError, Sandbox, Stdio};
use qila_types::Tier;
use rustix::fd::BorrowedFd;

/// The container tier.
#[derive(Debug, Clone, Copy)]
pub struct Container;

impl Backend for Container {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            tier: Tier::Container,
            namespaces: &[User, Mount, Pid, Net, Ipc, Uts, Cgroup],
            controllers: &["memory", "pids", "cpu", "io"],
            missing: None,
            engine: None,
            by_name: None,
        }
    }

    fn launch(&self, plan: &Plan, guest: BorrowedFd<'_>, stdio: Stdio) -> Result<Sandbox, LaunchError> {
        Sandbox::spawn(plan, guest, stdio)
    }
}
