//! `qila run`.
mod janitor;
mod outside;
pub(crate) mod plan;
mod relay;
mod supervise;
mod terminal;
mod witness;

use crate::args::Run;
use crate::fail::Fail;
use crate::home::Home;
use crate::state::{Meta, RunDir};
use crate::{guest, load};
use outside::Outside;
use plan::Wish;
use qila_gateway::Gateway;
use qila_plan::Plan;
use qila_policy::model::WorkspaceMode;
use qila_sandbox::{LaunchError, Sandbox, Stdio};
use qila_types::RunId;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use supervise::{Ending, Streams};
use witness::Witness;

/// Exit code of a run that a limit ended.
const LIMIT: u8 = 124;

/// `qila run`.
pub(crate) fn run(args: &Run) -> Result<u8, Fail> {
    let mut policy = load::load(&args.policy)?;
    if let Some(tier) = args.isolation {
        policy.isolation = tier.named();
    }
    if args.direct {
        policy.filesystem.workspace = WorkspaceMode::Direct;
    }
    for clause in &args.allow_unenforced {
        clause
            .parse::<qila_policy::ClauseId>()
            .map_err(|e| Fail::new(format!("--allow-unenforced: {e}")))?;
    }
    let home = Home::open()?;
    let workspace = workspace(args, policy.filesystem.workspace, &home)?;
    let id = new_id()?;
    let layered = policy.filesystem.workspace == WorkspaceMode::Layer;
    let terminal = terminal::size();
    let place = workspace.as_deref().map(plan::text).transpose()?;
    let outside = Outside::new(policy, plan::home()?, place)?;
    let wish = Wish {
        argv: args.command.iter().map(|a| a.as_bytes().to_vec()).collect(),
        workspace: workspace.clone(),
        run: id.to_string(),
        run_dir: home.path().join("runs").join(id.as_str()),
        home_dir: home.path().to_owned(),
        terminal,
        allow_unenforced: &args.allow_unenforced,
        placeholders: &outside.variables(),
    };
    let plan = plan::make(&outside.permit, wish)?;
    if args.plan {
        crate::policy::print(&plan.to_json());
        return Ok(0);
    }
    janitor::sweep(&home)?;
    let dir = RunDir::create(&home, id)?;
    let meta = Meta {
        run: dir.id.clone(),
        started_ms: now_ms(),
        pid: std::process::id(),
        tier: *plan.tier(),
        policy: args.policy.clone(),
        command: args
            .command
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect(),
        workspace: workspace.map(|w| w.to_string_lossy().into_owned()),
        ended: None,
        cgroups: plan.cgroup().directories.clone(),
    };
    let ended = dir
        .write_meta(&meta)
        .and_then(|()| execute(&home, &dir, args, &plan, outside, layered, terminal));
    finish(&home, &dir, meta, ended, args, &plan)
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

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|d| u64::try_from(d.as_millis()).ok())
        .unwrap_or(0)
}

fn new_id() -> Result<RunId, Fail> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|e| Fail::new(format!("no random numbers: {e}")))?;
    Ok(RunId::from_parts(now_ms(), u64::from_ne_bytes(random)))
}

/// The workspace, resolved; never the root of the host, never anything that holds Qila's own state.
fn workspace(args: &Run, mode: WorkspaceMode, home: &Home) -> Result<Option<PathBuf>, Fail> {
    if mode == WorkspaceMode::None {
        return Ok(None);
    }
    let named = args.workspace.clone().unwrap_or_else(|| PathBuf::from("."));
    let path = std::fs::canonicalize(&named).map_err(|e| {
        Fail::io("opening the workspace", &named, e).hint("name a directory with --workspace")
    })?;
    if !path.is_dir() {
        return Err(Fail::new(format!(
            "the workspace {} is not a directory",
            path.display()
        )));
    }
    let state = std::fs::canonicalize(home.path()).unwrap_or_else(|_| home.path().to_owned());
    let system = [
        "/", "/usr", "/etc", "/proc", "/dev", "/sys", "/run", "/tmp", "/bin", "/lib", "/boot", "/var",
    ];
    if system.iter().any(|s| path == Path::new(s)) {
        return Err(Fail::new(format!(
            "{} cannot be a workspace: it belongs to the system",
            path.display()
        ))
        .hint("change to a project's directory, or name one with --workspace"));
    }
    if state.starts_with(&path) || path.starts_with(&state) {
        return Err(Fail::new(format!(
            "the workspace {} and Qila's state {} overlap",
            path.display(),
            state.display()
        ))
        .hint("set QILA_HOME elsewhere, or name another --workspace"));
    }
    Ok(Some(path))
}

fn execute(
    home: &Home,
    dir: &RunDir,
    args: &Run,
    plan: &Plan,
    outside: Outside,
    layered: bool,
    terminal: Option<qila_wire::Size>,
) -> Result<Live, Fail> {
    let guest = guest::open(home).map_err(|e| Fail::io("preparing the guest in", home.path(), e.into()))?;
    let backend = qila_backends::backend(*plan.tier()).ok_or_else(|| Fail::new("no such backend"))?;
    // Both before the pipes: a copy of their ends in either would keep them open.
    let janitor =
        janitor::Janitor::hire(plan).map_err(|e| Fail::new(format!("starting the janitor: {e}")))?;
    let mut gateway = outside.gateway(plan, args)?;
    let pipes = Pipes::new().map_err(|e| Fail::new(format!("making pipes: {e}")))?;
    let mut sandbox = backend
        .launch(plan, guest.as_fd(), pipes.theirs)
        .map_err(failed)?;
    // While the child makes its namespaces and its network.
    if layered {
        prepare_layer(dir)?;
    }
    let ca = match &mut gateway {
        Some(gateway) => connect(&mut sandbox, gateway)?,
        None => String::new(),
    };
    sandbox.go(ca.as_bytes()).map_err(failed)?;
    // While the child builds its view.
    dir.tidy();
    let started = sandbox.start(plan, terminal);
    let controlling = started.map_err(failed)?;
    let mut witness = Witness::new(gateway);
    let streams = Streams {
        ours: pipes.ours,
        controlling,
    };
    let ending = supervise::supervise(&mut sandbox, plan, streams, &mut witness)?;
    Ok(Live {
        ending,
        sandbox,
        janitor,
        witness,
    })
}

/// Gives the gateway the sockets that were made inside. Answers its CA certificate.
fn connect(sandbox: &mut Sandbox, gateway: &mut Gateway) -> Result<String, Fail> {
    let listening = sandbox.listeners().map_err(failed)?;
    let ca = gateway.ready().map_err(|e| Fail::new(e.what).hint(e.hint))?;
    let sockets = [&listening.tcp, &listening.dns_udp, &listening.dns_tcp];
    gateway
        .listen(sockets.map(AsFd::as_fd))
        .map_err(|e| Fail::new(format!("the gateway could not be told to listen: {e}")))?;
    Ok(ca)
}

/// A sandbox whose agent has ended.
struct Live {
    ending: Ending,
    sandbox: Sandbox,
    janitor: Option<janitor::Janitor>,
    witness: Witness,
}

impl Live {
    /// Takes back what is left of it.
    fn end(mut self) -> Result<Ending, Fail> {
        let heard = self.witness.close();
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
        heard?;
        self.ending.allowed = self.witness.allowed;
        self.ending.denied = self.witness.denied;
        Ok(self.ending)
    }
}

/// Removes the directory of a run that changed nothing: it leaves nothing. Answers whether it is kept.
fn clear(home: &Home, dir: &RunDir) -> Result<bool, Fail> {
    let kept = dir.holds_changes();
    if !kept {
        dir.remove(home)?;
    }
    Ok(kept)
}

fn failed(error: LaunchError) -> Fail {
    match error {
        LaunchError::Program(Errno::NOENT) => Fail::new("the command was not found in the sandbox")
            .hint("check its name, and that its directory is under `filesystem.read`")
            .code(127),
        LaunchError::Program(errno) => {
            Fail::new(format!("the command cannot be executed: {errno}")).code(126)
        }
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

fn finish(
    home: &Home,
    dir: &RunDir,
    mut meta: Meta,
    live: Result<Live, Fail>,
    args: &Run,
    plan: &Plan,
) -> Result<u8, Fail> {
    let (kept, ended) = match live {
        // While the kernel takes the namespaces down.
        Ok(live) if live.sandbox.is_alone() => (clear(home, dir)?, live.end()),
        other => {
            let ended = other.and_then(Live::end);
            (clear(home, dir)?, ended)
        }
    };
    let ending = match ended {
        Ok(ending) => ending,
        Err(fail) => {
            if kept {
                meta.ended = Some("failed".into());
                dir.write_meta(&meta)?;
            }
            return Err(fail);
        }
    };
    if kept {
        meta.ended = Some("ended".into());
        dir.write_meta(&meta)?;
    }
    let code = match (&ending.limit, ending.code, ending.signal) {
        (Some(_), _, _) => LIMIT,
        (None, Some(code), _) => u8::try_from(code & 0xff).unwrap_or(1),
        (None, None, Some(signal)) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(255),
        (None, None, None) => 1,
    };
    if args.json {
        let value = serde_json::json!({"run": dir.id, "tier": plan.tier(), "exit": code, "signal": ending.signal,
            "stopped": ending.limit, "wall_ms": ending.wall_ms, "cpu_ms": ending.cpu_ms,
            "peak_memory": ending.peak_memory, "output_bytes": ending.output, "changes": kept,
            "allowed": ending.allowed, "denied": ending.denied,
            "unenforced": plan.unenforced()});
        eprintln!("{value}");
    } else if !args.quiet || ending.limit.is_some() {
        summary(dir, plan, &ending, code, kept);
    }
    Ok(code)
}

fn summary(dir: &RunDir, plan: &Plan, ending: &Ending, code: u8, kept: bool) {
    if let Some(limit) = &ending.limit {
        eprintln!("qila: stopped: {limit}");
    }
    let mib = ending.peak_memory.div_ceil(1 << 20);
    eprintln!(
        "qila: run {} · {} · exit {code} · {:.1} s, {:.1} s cpu, {mib} MiB peak",
        dir.id,
        plan.tier(),
        ending.wall_ms as f64 / 1000.0,
        ending.cpu_ms as f64 / 1000.0,
    );
    if plan.network().has_gateway() {
        eprintln!(
            "qila: network: {} allowed, {} denied",
            ending.allowed, ending.denied
        );
    }
    for clause in plan.unenforced() {
        eprintln!("qila: NOT ENFORCED: {clause}");
    }
    if kept {
        eprintln!(
            "qila: the workspace is unchanged; see `qila diff {0}`, keep with `qila apply {0}`",
            dir.id
        );
    }
}
