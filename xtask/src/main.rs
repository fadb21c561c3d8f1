//! Every check in one command: `cargo xtask …`, the same on a laptop and in CI.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod deny;
mod docs;
mod error;
mod fuzz;
mod metadata;
mod setup;
mod shell;
mod tables;
mod test;
mod tree;

use std::process::ExitCode;

use error::Error;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup                 install the Debian packages that tests and benchmarks use (root), or name the missing ones
  check                 formatting, lints, layering, unsafe, file lengths, versions, licences
  test [NAME…]          every test, as root and as an unprivileged user (NAME: only packages whose name has it)
  bench [TABLE] [--runs N] [--markdown]
                        measure a table of the README with its peers in the same run (TABLE: run, gateway or serve)
  fuzz [--seconds N] [TARGET…]
                        run each fuzz target for N seconds (default 10)
  deny [--install]      licences, bans, sources and advisories of the dependencies (needs cargo-deny)
  docs                  regenerate docs/policy.md and docs/policy.schema.json";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<bool, Error> {
    let Some((command, rest)) = arguments.split_first() else {
        return Err(Error::Usage(USAGE.to_owned()));
    };
    match command.as_str() {
        "setup" => setup::run(rest),
        "check" => check::run(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "docs" => docs::run(rest),
        "deny" => deny::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(true)
        }
        other => Err(Error::Usage(format!("no command `{other}`\n{USAGE}"))),
    }
}
