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
    let throughput = example(&metadata, "qila-evidence", "throughput")?;
    let mut bench = Command::new(tree::built(&metadata, "qila-bench")?);
    bench.args(arguments).current_dir(tree::root());
    bench.env("QILA_BENCH_OUT", metadata.target_folder.join("bench"));
    if let Some(path) = qila {
        bench.env("QILA_BIN", path);
    }
    if let Some(path) = example(&metadata, "qila-authorizer", "decide")? {
        bench.env("QILA_BENCH_DECIDE", path);
    }
    if let Some(path) = throughput {
        bench.env("QILA_BENCH_EVIDENCE", path);
    }
    Ok(shell::status(&mut bench)?.success())
}

/// A crate's own measure of itself, where it has one.
fn example(metadata: &Metadata, package: &str, name: &str) -> Result<Option<PathBuf>, Error> {
    let Some(found) = metadata.package(package) else {
        return Ok(None);
    };
    if !found.folder.join(format!("examples/{name}.rs")).is_file() {
        return Ok(None);
    }
    let mut build = shell::cargo(["build", "--release", "-q", "-p", package, "--example", name]);
    shell::succeed(build.current_dir(tree::root()))?;
    tree::built(metadata, &format!("examples/{name}")).map(Some)
}
