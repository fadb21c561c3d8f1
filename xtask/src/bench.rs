//! `cargo xtask bench`: builds `qila` and the runner in release mode and hands over.
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::metadata::Metadata;
use crate::{shell, tree};

/// Builds and runs a table; what follows the table's name is the runner's own.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    let metadata = Metadata::read()?;
    let qila = tree::release_qila(&metadata)?;
    let mut build = shell::cargo(["build", "--release", "-q", "-p", "qila-bench"]);
    shell::succeed(build.current_dir(tree::root()))?;
    let throughput = throughput(&metadata)?;
    let mut bench = Command::new(tree::built(&metadata, "qila-bench")?);
    bench.args(arguments).current_dir(tree::root());
    bench.env("QILA_BENCH_OUT", metadata.target_folder.join("bench"));
    if let Some(path) = qila {
        bench.env("QILA_BIN", path);
    }
    if let Some(path) = throughput {
        bench.env("QILA_BENCH_EVIDENCE", path);
    }
    Ok(shell::status(&mut bench)?.success())
}

/// The evidence crate's own measure of itself, where it has one.
fn throughput(metadata: &Metadata) -> Result<Option<PathBuf>, Error> {
    let Some(evidence) = metadata.package("qila-evidence") else {
        return Ok(None);
    };
    if !evidence.folder.join("examples/throughput.rs").is_file() {
        return Ok(None);
    }
    let mut build = shell::cargo([
        "build",
        "--release",
        "-q",
        "-p",
        "qila-evidence",
        "--example",
        "throughput",
    ]);
    shell::succeed(build.current_dir(tree::root()))?;
    tree::built(metadata, "examples/throughput").map(Some)
}
