//! `qila run`.
pub(crate) mod change;
pub(crate) mod evidence;
mod execute;
mod finish;
pub(crate) mod janitor;
pub(crate) mod outside;
pub(crate) mod plan;
mod relay;
mod supervise;
pub(crate) mod terminal;
pub(crate) mod witness;

use crate::args::Run;
use crate::fail::Fail;
use crate::home::Home;
use crate::load;
use crate::state::{Meta, RunDir};
use evidence::Evidence;
use outside::Outside;
use plan::Wish;
use qila_plan::Plan;
use qila_policy::model::WorkspaceMode;
use qila_types::RunId;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `qila run`.
pub(crate) fn run(args: &Run) -> Result<u8, Fail> {
    let of_a_daemon = [
        (args.template.is_some(), "--template"),
        (args.keep, "--keep"),
        (!args.env.is_empty(), "--env"),
        (args.timeout.is_some(), "--timeout"),
    ];
    if let Some((_, what)) = of_a_daemon.iter().find(|(given, _)| *given) {
        return Err(Fail::new(format!("{what} is for sandboxes of a daemon"))
            .hint("say where it is with --host or QILA_HOST")
            .code(2));
    }
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
    let terminal = terminal::size();
    let place = workspace.as_deref().map(plan::text).transpose()?;
    let outside = Outside::new(policy, plan::home()?, place)?;
    let wish = Wish {
        argv: args.command.iter().map(|a| a.as_bytes().to_vec()).collect(),
        workspace: workspace.clone(),
        run: id.to_string(),
        run_dir: home.path().join("runs").join(id.as_str()),
        home_dir: home.path().to_owned(),
        unpack: true,
        terminal,
        allow_unenforced: &args.allow_unenforced,
        placeholders: &outside.variables(),
    };
    let plan = plan::make(&outside.permit, wish).map_err(|fail| refuse(args, &home, &id, fail))?;
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
        leases: outside.leases(),
    };
    let mut evidence = Evidence::of(&home, &dir.id);
    let job = Job {
        args,
        home: &home,
        dir: &dir,
        plan: &plan,
        outside: &outside,
        terminal,
    };
    let ended = dir
        .write_meta(&meta)
        .and_then(|()| execute::execute(&job, &meta, &mut evidence));
    finish::finish(&job, meta, ended, evidence)
}

/// One run, planned.
pub(crate) struct Job<'a> {
    args: &'a Run,
    home: &'a Home,
    dir: &'a RunDir,
    plan: &'a Plan,
    outside: &'a Outside,
    terminal: Option<qila_wire::Size>,
}

/// Records that a launch was refused, unless only the plan was asked for.
fn refuse(args: &Run, home: &Home, id: &RunId, mut fail: Fail) -> Fail {
    if !args.plan
        && let Err(unrecorded) = Evidence::of(home, id).failed(&fail)
    {
        fail.message = format!("{}; {}", fail.message, unrecorded.message);
    }
    fail
}

pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since
        .ok()
        .and_then(|d| u64::try_from(d.as_millis()).ok())
        .unwrap_or(0)
}

pub(crate) fn new_id() -> Result<RunId, Fail> {
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
