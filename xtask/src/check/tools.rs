//! Checks that other programs make.
use super::Finding;
use crate::error::Error;
use crate::{shell, tree};

/// rustfmt finds nothing to change.
pub fn formatting() -> Result<Finding, Error> {
    verdict(&["fmt", "--all", "--check"])
}

/// clippy finds nothing, warnings included.
pub fn lints() -> Result<Finding, Error> {
    verdict(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ])
}

fn verdict(arguments: &[&str]) -> Result<Finding, Error> {
    let status = shell::status(shell::cargo(arguments).current_dir(tree::root()))?;
    Ok(if status.success() {
        Finding::Passed
    } else {
        Finding::Failed(vec![format!(
            "`cargo {}` ended with {status}",
            arguments.join(" ")
        )])
    })
}
