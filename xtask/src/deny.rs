//! `cargo xtask deny`: licences, bans, sources and advisories of what is built in, by cargo-deny.
//!
//! Not part of the test command: cargo-deny takes minutes to build and only a changed `Cargo.lock` changes its verdict. CI
//! runs this as a job of its own, on changes of `Cargo.lock` or `deny.toml` and once a day for new advisories.
use std::path::PathBuf;
use std::process::Command;

use crate::check::Finding;
use crate::error::Error;
use crate::metadata::Metadata;
use crate::{shell, tree};

/// The version whose settings `deny.toml` uses.
const VERSION: &str = "0.20.2";

/// Judges, and fails where it cannot; `--install` builds cargo-deny first, below the build folder.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    let metadata = Metadata::read()?;
    match arguments {
        [] => {}
        [word] if word == "--install" => {
            // Unoptimised: it runs for seconds, and builds in a third of the time.
            let words = [
                "install",
                "cargo-deny",
                "--locked",
                "--debug",
                "--version",
                VERSION,
                "--root",
            ];
            shell::succeed(shell::cargo(words).arg(folder(&metadata)))?;
        }
        _ => return Err(Error::Usage("`deny` takes `--install` or nothing".to_owned())),
    }
    match judge(&metadata)? {
        Finding::Passed => Ok(true),
        Finding::Failed(found) => {
            found.iter().for_each(|line| println!("failed: {line}"));
            Ok(false)
        }
        Finding::Skipped(reason) => {
            println!("not judged: {reason}");
            Ok(false)
        }
    }
}

/// The same where cargo-deny is at hand, for `cargo xtask check`.
pub fn judge(metadata: &Metadata) -> Result<Finding, Error> {
    let own = folder(metadata).join("bin/cargo-deny");
    let Some(program) = own.is_file().then_some(own).or_else(|| shell::find("cargo-deny")) else {
        return Ok(Finding::Skipped(
            "cargo-deny is not installed (`cargo xtask deny --install`)".to_owned(),
        ));
    };
    let check = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["--log-level", "error", "check"]).args(what);
        shell::status(command.current_dir(tree::root()))
    };
    let mut found = Vec::new();
    if !check(&["bans", "licenses", "sources"])?.success() {
        found.push("`cargo deny check bans licenses sources` found something".to_owned());
    }
    // Advisories come over the network; a machine without one must still be able to check the rest.
    let mut fetch = Command::new(&program);
    if shell::quietly(fetch.args(["fetch", "db"]).current_dir(tree::root())) {
        if !check(&["advisories"])?.success() {
            found.push("`cargo deny check advisories` found something".to_owned());
        }
    } else {
        println!("skipped: advisories: their database cannot be fetched here");
    }
    Ok(Finding::from_complaints(found))
}

fn folder(metadata: &Metadata) -> PathBuf {
    metadata.target_folder.join("tools")
}
