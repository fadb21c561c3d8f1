//! `cargo xtask bench`: builds `qila` and the runner in release mode and hands over.
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::metadata::Metadata;
use crate::{shell, tree};

/// The version of the peer that comes from PyPI.
const MITMPROXY: &str = "11.0.2";

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
    if arguments.first().is_some_and(|table| table == "gateway") {
        match mitmproxy(&metadata) {
            Some(path) => drop(bench.env("QILA_BENCH_MITMDUMP", path)),
            None => eprintln!("note: mitmproxy {MITMPROXY} could not be installed"),
        }
    }
    if arguments.first().is_some_and(|table| table == "serve") {
        match numpy(&metadata) {
            Some(path) => drop(bench.env("QILA_BENCH_NUMPY", path)),
            None => eprintln!("note: numpy could not be installed"),
        }
    }
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

/// The peer, in an environment of its own under the build folder; none where it cannot be installed.
fn mitmproxy(metadata: &Metadata) -> Option<PathBuf> {
    let folder = metadata
        .target_folder
        .join(format!("bench/mitmproxy-{MITMPROXY}"));
    let program = folder.join("bin/mitmdump");
    if program.is_file() {
        return Some(program);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&folder);
    let mut install = Command::new(folder.join("bin/pip"));
    install.args(["install", "--quiet", &format!("mitmproxy=={MITMPROXY}")]);
    (shell::quietly(&mut make) && shell::quietly(&mut install) && program.is_file()).then_some(program)
}

/// The numpy that the tests of zygotes use, below the build folder; none where it cannot be installed.
fn numpy(metadata: &Metadata) -> Option<PathBuf> {
    let folder = metadata.target_folder.join("zygote-numpy");
    let mut make = Command::new(tree::root().join("crates/qila-sandbox/tests/zygote/setup.sh"));
    shell::quietly(make.arg(&folder)).then_some(folder)
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
