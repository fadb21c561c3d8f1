//! The gVisor tier: the container tier's walls, in them `runsc`, and in that the agent, whose system calls a kernel in user space
//! answers.
//!
//! `runsc` starts inside the finished view, the locked network and the cgroups, with the capabilities of a user namespace that has
//! one user, under a seccomp filter of ours, and sees one directory of files besides its own: the agent's view. Its network is that
//! of the host as it sees it, which is the locked one.
#![forbid(unsafe_code)]

mod bundle;
mod runsc;

use qila_plan::Namespace::*;
use qila_plan::{Capabilities, Missing, Plan};
use qila_sandbox::{Backend, LaunchError, Sandbox, Stdio};
use qila_types::Tier;
use rustix::fd::BorrowedFd;

/// The gVisor tier.
#[derive(Debug, Clone, Copy)]
pub struct Gvisor;

impl Backend for Gvisor {
    fn capabilities(&self) -> Capabilities {
        let found = runsc::find();
        let (engine, missing) = match found {
            Some(engine) => (Some(engine), None),
            None => {
                let missing = Missing {
                    reason: "there is no `runsc` in a directory of the system's programs".into(),
                    fix: "install gVisor: Debian and Ubuntu have the package `runsc`; see https://gvisor.dev/docs/user_guide/install/".into(),
                };
                (None, Some(missing))
            }
        };
        Capabilities {
            tier: Tier::Gvisor,
            namespaces: &[User, Mount, Pid, Net, Ipc, Uts, Cgroup],
            // Processes are counted by the agent's own kernel: `runsc` has many threads, and the agent's are none of the host's.
            controllers: &["memory", "cpu", "io"],
            missing,
            engine,
            by_name: Some("it is not chosen by itself until the whole conformance suite has passed on it"),
        }
    }

    fn launch(&self, plan: &Plan, guest: BorrowedFd<'_>, stdio: Stdio) -> Result<Sandbox, LaunchError> {
        Sandbox::spawn_around(plan, guest, stdio, bundle::around)
    }
}
