//! The `qila` command.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_main)]

mod args;
mod audit;
mod budgets;
mod changes;
mod doctor;
mod fail;
mod gateway;
mod gateways;
mod home;
mod image;
mod interpret;
mod key;
mod kill;
mod leases;
mod line;
mod load;
mod log;
mod policy;
mod ps;
mod remote;
mod run;
mod serve;
mod spare;
mod state;
mod update;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use fail::Fail;

#[cfg(not(test))]
qila_sys::command!(command);

#[cfg_attr(test, allow(dead_code, reason = "the tests have a beginning of their own"))]
fn command() -> u8 {
    // SIGXFSZ: a limit on the size of files is an error of write, like a full disk, not the end of Qila.
    qila_sys::signal::ignore(25);
    let cli = Cli::parse();
    let done = match remote::named(&cli) {
        Err(fail) => Err(fail),
        Ok(Some(host)) => remote::dispatch(&host, cli.command),
        Ok(None) => here(cli.command),
    };
    match done {
        Ok(code) => code,
        Err(fail) => {
            eprintln!("{fail}");
            fail.code
        }
    }
}

/// Carries a command out on this host.
fn here(command: Command) -> Result<u8, Fail> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Sandbox(_) | Command::Template(_) => Err(Fail::new("there is no daemon to ask")
            .hint("say where it is with --host or QILA_HOST; `qila serve` is one")
            .code(2)),
        Command::Ps(args) => ps::ps(&args),
        Command::Kill(args) => kill::kill(&args),
        Command::Update(args) => update::update(&args),
        Command::Revoke(args) => update::revoke(&args),
        Command::Gateway(args) => gateway::gateway(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Image(command) => image::image(command),
        Command::Interpret => interpret::interpret(),
        Command::Key(args) => key::key(&args),
        Command::Tenant(args) => key::tenant(&args),
        Command::Diff(args) => changes::diff(&args),
        Command::Apply(args) => changes::apply(&args),
        Command::Discard(args) => changes::discard(&args),
        Command::Log(args) => log::log(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Policy(args) => policy::policy(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "qila", &mut std::io::stdout());
            Ok(0)
        }
        Command::Man { directory } => clap_mangen::generate_to(Cli::command(), &directory)
            .map(|()| 0)
            .map_err(|e| Fail::io("writing manual pages to", &directory, e)),
    }
}
