//! Licences, duplicates and advisories of what is built in, by `cargo deny`.
use super::Finding;
use crate::error::Error;
use crate::{shell, tree};

/// Runs `cargo deny` where it is installed.
pub fn check() -> Result<Finding, Error> {
    if !shell::quietly(&mut shell::cargo(["deny", "--version"])) {
        return Ok(Finding::Skipped(
            "cargo-deny is not installed (`cargo install cargo-deny`)".to_owned(),
        ));
    }
    let mut found = Vec::new();
    let judge = |what: &[&str]| {
        let arguments = [&["deny", "--log-level", "error", "check"], what].concat();
        shell::status(shell::cargo(arguments).current_dir(tree::root()))
    };
    if !judge(&["bans", "licenses", "sources"])?.success() {
        found.push("`cargo deny check bans licenses sources` found something".to_owned());
    }
    // Advisories come over the network; a machine without one must still be able to check the rest.
    if shell::quietly(&mut shell::cargo(["deny", "fetch", "db"])) {
        if !judge(&["advisories"])?.success() {
            found.push("`cargo deny check advisories` found something".to_owned());
        }
    } else {
        println!("note: advisories not judged: the advisory database cannot be fetched here");
    }
    Ok(Finding::from_complaints(found))
}
