//! `qila --host`: commands against a daemon, here or elsewhere.
mod attach;
mod copy;
mod exec;
mod forward;
mod http;
mod list;
mod meter;
mod policy;
mod run;
mod sandbox;
mod signals;
mod streams;
mod template;

use crate::args::{Cli, Command, Policy};
use crate::fail::Fail;
use http::Asked;
pub(crate) use http::Host;
pub(crate) use sandbox::SandboxCommand;
pub(crate) use template::TemplateCommand;

/// The daemon that a command is for, if it is for one. The environment says nothing to what only ever works here.
pub(crate) fn named(cli: &Cli) -> Result<Option<Host>, Fail> {
    let asked = Asked {
        url: cli.host.clone(),
        ca: cli.host_ca.clone(),
        key_file: cli.key_file.clone(),
        insecure: cli.host_insecure,
    };
    let local = match &cli.command {
        Command::Policy(Policy::Check { .. }) => false,
        Command::Serve(_)
        | Command::Interpret
        | Command::Gateway(_)
        | Command::Key(_)
        | Command::Tenant(_)
        | Command::Policy(_)
        | Command::Completions { .. }
        | Command::Man { .. } => true,
        _ => false,
    };
    http::named(&asked, !local)
}

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
        Command::Run(args) => run::run(host, &args).await,
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
        Command::Policy(Policy::Check { policy, json }) => policy::check(host, &policy, json).await,
        Command::Template(command) => template::template(host, command).await,
        Command::Sandbox(command) => sandbox::sandbox(host, command).await,
        _ => Err(Fail::new("this command works on this host only")
            .hint("leave --host and QILA_HOST out")
            .code(2)),
    }
}
