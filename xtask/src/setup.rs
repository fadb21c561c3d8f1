//! `cargo xtask setup`: what the tests and benchmarks need from Debian.
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::tables::PACKAGES;
use crate::{shell, tree};

/// Installs what is missing, or names it where this user cannot install.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    if let Some(extra) = arguments.first() {
        return Err(Error::Usage(format!("`setup` takes no arguments, got `{extra}`")));
    }
    let missing = missing(|sign| {
        if sign.starts_with('/') {
            Path::new(sign).exists()
        } else {
            shell::find(sign).is_some()
        }
    });
    let complete = if missing.is_empty() {
        println!("setup: every package is there");
        true
    } else {
        install(&missing)?
    };
    let script = tree::root().join("tests/agents/setup.sh");
    if script.is_file() {
        shell::succeed(Command::new("bash").arg(&script).current_dir(tree::root()))?;
    }
    Ok(complete)
}

/// The packages whose sign is absent.
fn missing(present: impl Fn(&str) -> bool) -> Vec<&'static str> {
    PACKAGES
        .iter()
        .filter(|(sign, ..)| !present(sign))
        .map(|(_, package, _)| *package)
        .collect()
}

fn install(missing: &[&str]) -> Result<bool, Error> {
    if shell::find("apt-get").is_none() || !shell::is_root() {
        println!("setup: missing: {}", missing.join(" "));
        println!(
            "setup: as root: apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
        println!("setup: tests and benchmarks that need them will say so and be counted as skipped");
        return Ok(true);
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        // A package that starts its service (dockerd) must not do so on the machine that runs the tests.
        command.env("RUNLEVEL", "1");
        command
    };
    let words = [&["install", "-y", "-qq", "--no-install-recommends"], missing].concat();
    if shell::quietly(&mut apt(&words)) {
        println!("setup: installed {}", missing.join(" "));
        return Ok(true);
    }
    // Package lists older than the archive are the usual cause; each package then stands for itself.
    shell::status(&mut apt(&["update", "-qq"]))?;
    let mut complete = true;
    for package in missing {
        let words = ["install", "-y", "-qq", "--no-install-recommends", package];
        if shell::quietly(&mut apt(&words)) {
            println!("setup: installed {package}");
        } else {
            println!("setup: cannot install {package}; what needs it will be counted as skipped");
            complete = complete && OPTIONAL.contains(package);
        }
    }
    Ok(complete)
}

/// Packages that only a benchmark's peer needs: without them a row says so, and no test is lost.
const OPTIONAL: &[&str] = &["bubblewrap", "crun", "runc", "docker.io", "python3-pytest"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absent_packages_are_missing() {
        assert_eq!(missing(|_| true), Vec::<&str>::new());
        assert_eq!(missing(|sign| sign != "runc"), ["runc"]);
    }

    #[test]
    fn optional_packages_are_in_the_table() {
        assert!(
            OPTIONAL
                .iter()
                .all(|name| PACKAGES.iter().any(|(_, package, _)| package == name))
        );
    }
}
