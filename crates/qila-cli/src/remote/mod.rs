//! `qila --host`: commands against a daemon, here or elsewhere.
mod copy;
mod exec;
mod http;
mod list;
mod sandbox;

use crate::args::{Command, Run};
use crate::fail::Fail;
pub(crate) use http::{Host, named};
pub(crate) use sandbox::SandboxCommand;

/// Carries a command out at a daemon.
pub(crate) fn dispatch(host: &Host, command: Command) -> Result<u8, Fail> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fail::new(format!("starting: {e}")))?;
    let done = runtime.block_on(carry_out(host, command));
    // A thread may still wait for the terminal.
    runtime.shutdown_background();
    done
}

async fn carry_out(host: &Host, command: Command) -> Result<u8, Fail> {
    match command {
        Command::Run(args) => run(host, &args).await,
        Command::Ps(args) => list::ps(host, args.json).await,
        Command::Kill(args) => sandbox::kill(host, &args.run).await,
        Command::Log(args) => {
            if args.ocsf || args.otlp {
                return Err(Fail::new("--ocsf and --otlp are for the log on this host")
                    .hint("run it where the daemon runs"));
            }
            list::log(host, args.run.as_deref(), args.follow, args.json).await
        }
        Command::Doctor(args) => list::doctor(host, args.json).await,
        Command::Sandbox(command) => sandbox::sandbox(host, command).await,
        _ => Err(Fail::new("this command works on this host only")
            .hint("leave --host and QILA_HOST out")
            .code(2)),
    }
}

/// What makes no sense for a sandbox elsewhere is refused by name.
fn only_local(args: &Run) -> Option<(&'static str, &'static str)> {
    let template = "make a template with that policy, and name it with --template";
    let cases = [
        (
            args.direct,
            "--direct",
            "upload files with --workspace, and bring them back with `qila sandbox cp`",
        ),
        (args.plan, "--plan", "run it where the daemon runs"),
        (args.isolation.is_some(), "--isolation", template),
        (args.policy != "coding-agent", "--policy", template),
        (
            !args.allow_unenforced.is_empty(),
            "--allow-unenforced",
            "a daemon enforces all of a policy",
        ),
        (
            args.agent.is_some(),
            "--agent",
            "budgets of a daemon are its tenants'",
        ),
        (args.prices.is_some(), "--prices", "`qila serve` takes it"),
        (!args.upstream.is_empty(), "--upstream", "`qila serve` takes it"),
        (
            !args.upstream_ca.is_empty(),
            "--upstream-ca",
            "`qila serve` takes it",
        ),
    ];
    cases
        .into_iter()
        .find(|(given, ..)| *given)
        .map(|(_, name, hint)| (name, hint))
}

/// `qila --host … run`: a sandbox, one command in it, and its end.
async fn run(host: &Host, args: &Run) -> Result<u8, Fail> {
    if let Some((name, hint)) = only_local(args) {
        return Err(Fail::new(format!("{name} is for sandboxes on this host"))
            .hint(hint)
            .code(2));
    }
    let begun = std::time::Instant::now();
    let template = args.template.as_deref().unwrap_or("base");
    let made = sandbox::create(host, template, None, &[]).await?;
    let done = async {
        if let Some(dir) = &args.workspace {
            copy::up(host, &made.id, dir, ".", true).await?;
        }
        let argv: Vec<String> = args
            .command
            .iter()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
        exec::run(host, &made.id, &argv, &[]).await
    };
    let done = done.await;
    let ended = match args.keep {
        true => Ok(()),
        false => sandbox::end(host, &made.id).await,
    };
    let code = done?;
    ended?;
    if args.json {
        let value = serde_json::json!({"run": made.id, "tier": made.tier, "exit": code,
            "wall_ms": u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), "kept": args.keep});
        eprintln!("{value}");
    } else if !args.quiet {
        eprintln!(
            "qila: run {} · {} · exit {code} · {:.1} s",
            made.id,
            made.tier,
            begun.elapsed().as_secs_f64()
        );
        if args.keep {
            eprintln!(
                "qila: it is kept; see `qila sandbox exec {0} -- …`, end it with `qila kill {0}`",
                made.id
            );
        }
    }
    Ok(code)
}
