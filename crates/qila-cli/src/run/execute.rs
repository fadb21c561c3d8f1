//! From a plan to an agent that has ended.
use super::Job;
use super::change::Changes;
use super::evidence::Evidence;
use super::janitor::Janitor;
use super::supervise::{self, Ending, Streams};
use super::witness::Witness;
use crate::fail::Fail;
use crate::state::{Meta, RunDir};
use qila_gateway::Gateway;
use qila_policy::model::WorkspaceMode;
use qila_sandbox::{LaunchError, Sandbox, Stdio};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Runs the agent to its end.
pub(super) fn execute(job: &Job<'_>, meta: &Meta, evidence: &mut Evidence<'_>) -> Result<Live, Fail> {
    let (home, plan) = (job.home, job.plan);
    let guest = qila_embedded::open(home.dir())
        .map_err(|e| Fail::io("preparing the guest in", home.path(), e.into()))?;
    let backend = qila_backends::backend(*plan.tier()).ok_or_else(|| Fail::new("no such backend"))?;
    // Both before the pipes: a copy of their ends in either would keep them open.
    let janitor = Janitor::hire(plan).map_err(|e| Fail::new(format!("starting the janitor: {e}")))?;
    let mut gateway = job.outside.gateway(job)?;
    let pipes = Pipes::new().map_err(|e| Fail::new(format!("making pipes: {e}")))?;
    let mut sandbox = backend
        .launch(plan, guest.as_fd(), pipes.theirs)
        .map_err(failed)?;
    // While the child makes its namespaces and its network.
    let policy = job.outside.permit.policy();
    if policy.filesystem.workspace == WorkspaceMode::Layer {
        prepare_layer(job.dir)?;
    }
    let ca = match &mut gateway {
        Some(gateway) => connect(&mut sandbox, gateway)?,
        None => String::new(),
    };
    sandbox.go(ca.as_bytes()).map_err(failed)?;
    // While the child builds its view, the longest of its work; nothing is forked after the log is open. The guest waits for
    // what it is to start, which it is told only once the launch is on the disk.
    evidence.launch(policy, plan, meta)?;
    job.dir.tidy();
    evidence.started();
    let started = sandbox.start(plan, job.terminal);
    let controlling = started.map_err(failed)?;
    let mut witness = Witness::new(gateway, evidence);
    let streams = Streams {
        ours: pipes.ours,
        controlling,
    };
    let mut changes = Changes::new(job.dir, job.outside, job.args);
    let ended = supervise::supervise(&mut sandbox, plan, streams, &mut witness, &mut changes);
    changes.forget();
    // Whatever became of the run: what the gateway had done by then is written down.
    let heard = witness.close();
    let ending = ended?;
    heard?;
    Ok(Live {
        ending,
        sandbox,
        janitor,
    })
}

fn prepare_layer(dir: &RunDir) -> Result<(), Fail> {
    let fail = |e: &dyn std::fmt::Display| {
        Fail::new(format!(
            "making the workspace layer in {}: {e}",
            dir.path().display()
        ))
    };
    let workspace = dir.workspace().map_err(|e| fail(&e))?;
    let workspace = workspace.ok_or_else(|| fail(&"there is no workspace"))?;
    qila_workspace::RunLayer::prepare(dir.dir(), workspace).map_err(|e| fail(&crate::fail::chain(&e)))
}

/// Gives the gateway the sockets that were made inside. Answers its CA certificate.
fn connect(sandbox: &mut Sandbox, gateway: &mut Gateway) -> Result<String, Fail> {
    let listening = sandbox.listeners().map_err(failed)?;
    let ca = gateway.ready().map_err(|e| Fail::new(e.what).hint(e.hint))?;
    let sockets = [&listening.tcp, &listening.dns_udp, &listening.dns_tcp];
    gateway
        .listen(&sockets.map(AsFd::as_fd))
        .map_err(|e| Fail::new(format!("the gateway could not be told to listen: {e}")))?;
    Ok(ca)
}

/// A sandbox whose agent has ended.
pub(super) struct Live {
    /// How it ended.
    pub ending: Ending,
    /// What is left of it.
    pub sandbox: Sandbox,
    janitor: Option<Janitor>,
}

impl Live {
    /// Takes back what is left of it.
    pub(super) fn end(self) -> Result<Ending, Fail> {
        let left = self.sandbox.end();
        if let Some((what, errno)) = left.first() {
            // The janitor is not sent home: it tries again when this process is gone.
            return Err(Fail::new(format!(
                "the run ended, but {what} could not be taken back: {errno}"
            )));
        }
        if let Some(janitor) = self.janitor {
            janitor
                .dismiss()
                .map_err(|e| Fail::new(format!("the run ended, but its janitor could not be told: {e}")))?;
        }
        Ok(self.ending)
    }
}

fn failed(error: LaunchError) -> Fail {
    match error {
        LaunchError::Program(Errno::NOENT) => Fail::new("the command was not found in the sandbox")
            .hint("check its name, and that its directory is under `filesystem.read`")
            .clause("command")
            .code(127),
        LaunchError::Program(errno) => Fail::new(format!("the command cannot be executed: {errno}"))
            .clause("command")
            .code(126),
        LaunchError::Inside { .. } => Fail::new(error.to_string()).hint("qila doctor").clause("launch"),
        other => Fail::new(other.to_string()).hint("qila doctor"),
    }
}

/// The three streams, as pipes: no descriptor of the caller's ever enters the sandbox.
struct Pipes {
    theirs: Stdio,
    ours: [OwnedFd; 3],
}

impl Pipes {
    fn new() -> Result<Pipes, Errno> {
        let (input, feed) = pipe_with(PipeFlags::CLOEXEC)?;
        let (out, output) = pipe_with(PipeFlags::CLOEXEC)?;
        let (err, error) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Pipes {
            theirs: Stdio { input, output, error },
            ours: [feed, out, err],
        })
    }
}
