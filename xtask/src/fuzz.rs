//! `cargo xtask fuzz`: hostile bytes into every reader, for a bounded time.
use std::process::Command;

use crate::error::Error;
use crate::metadata::{Metadata, Package};
use crate::{shell, tree};

/// Seconds for each target when none are given.
const SECONDS: u32 = 10;

/// What the compiler adds so that libFuzzer sees which code an input reached. Stable flags, the ones of cargo-fuzz.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// Named explicitly, so that the flags above reach the targets and not the build scripts.
const TRIPLE: &str = if cfg!(target_arch = "aarch64") {
    "aarch64-unknown-linux-gnu"
} else {
    "x86_64-unknown-linux-gnu"
};

/// Runs every target for its time: with cargo-fuzz and a nightly compiler where both are installed, which adds the
/// address sanitizer, else with libFuzzer built by the stable compiler.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    let (seconds, chosen) = parse(arguments)?;
    let folder = tree::root().join("fuzz");
    let listing =
        shell::output(shell::cargo(["metadata", "--format-version", "1", "--no-deps"]).current_dir(&folder))?;
    let listing = Metadata::parse(&listing)?;
    let names: Vec<&str> = listing.packages.iter().flat_map(Package::binaries).collect();
    if let Some(word) = chosen.iter().find(|word| !names.contains(&word.as_str())) {
        return Err(Error::Usage(format!(
            "no fuzz target `{word}`; there are: {}",
            names.join(" ")
        )));
    }
    let targets: Vec<&str> = names
        .into_iter()
        .filter(|name| chosen.is_empty() || chosen.iter().any(|word| word == name))
        .collect();
    let sanitized = shell::quietly(&mut shell::cargo(["fuzz", "--version"]))
        && shell::quietly(Command::new("rustc").args(["+nightly", "--version"]));
    if sanitized {
        println!("fuzz: cargo-fuzz on nightly: coverage and the address sanitizer");
    } else {
        println!(
            "fuzz: libFuzzer on the stable compiler: coverage, no address sanitizer (needs cargo-fuzz and nightly)"
        );
        let mut build = shell::cargo(["build", "--release", "--quiet", "--bins", "--target", TRIPLE]);
        shell::succeed(build.current_dir(&folder).env("RUSTFLAGS", COVERAGE))?;
    }
    let mut failed = 0;
    for name in &targets {
        // Finds of this machine go below the build folder; the committed seeds are read and not added to.
        let finds = listing.target_folder.join("finds").join(name);
        shell::make_folder(&finds)?;
        let mut command = if sanitized {
            let mut command = Command::new("cargo");
            command.args(["+nightly", "fuzz", "run", name]).arg(&finds);
            command
        } else {
            let mut command = Command::new(listing.target_folder.join(TRIPLE).join("release").join(name));
            command.arg(&finds);
            command
        };
        let seeds = folder.join("seeds").join(name);
        if seeds.is_dir() {
            command.arg(seeds);
        }
        if sanitized {
            command.arg("--");
        }
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-artifact_prefix={}/", finds.display()));
        // An input that takes ten seconds or two gigabytes is a find as well.
        command.args([
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
        let status = shell::status(command.current_dir(tree::root()))?;
        if status.success() {
            println!("passed: {name}: {seconds} s");
        } else {
            failed += 1;
            println!("failed: {name}: {status}");
        }
    }
    println!("{} passed, {failed} failed, 0 skipped", targets.len() - failed);
    Ok(failed == 0)
}

fn parse(arguments: &[String]) -> Result<(u32, Vec<String>), Error> {
    let mut seconds = SECONDS;
    let mut targets = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--seconds" {
            let value = words.next().and_then(|value| value.parse().ok());
            seconds = value.ok_or_else(|| Error::Usage("`--seconds` needs a whole number".to_owned()))?;
        } else if word.starts_with('-') {
            return Err(Error::Usage(format!("`fuzz` knows no option `{word}`")));
        } else {
            targets.push(word.clone());
        }
    }
    Ok((seconds, targets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn arguments() {
        assert_eq!(parse(&words("")).expect("valid"), (SECONDS, vec![]));
        assert_eq!(
            parse(&words("a --seconds 3 b")).expect("valid"),
            (3, words("a b"))
        );
        assert!(parse(&words("--seconds x")).is_err());
        assert!(parse(&words("--second 3")).is_err());
    }
}
