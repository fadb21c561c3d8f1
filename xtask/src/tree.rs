//! Where things are: the checkout, the build folder, the built binary.
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::metadata::Metadata;
use crate::shell;

/// The root of the checkout.
pub fn root() -> PathBuf {
    // xtask is built from the tree that it checks, so the compile-time path is the right one.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The files that git tracks or would track, relative to the root.
pub fn files() -> Result<Vec<PathBuf>, Error> {
    let mut command = std::process::Command::new("git");
    command
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root());
    let listing = shell::output(&mut command)?;
    Ok(listing
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()))
        .filter(|name| root().join(name).is_file())
        .collect())
}

/// Builds the release `qila` and returns its path, or `None` while the tree has no such binary.
///
/// `QILA_BIN` names a binary that is used as it is.
pub fn release_qila(metadata: &Metadata) -> Result<Option<PathBuf>, Error> {
    if let Some(named) = std::env::var_os("QILA_BIN") {
        return Ok(Some(PathBuf::from(named)));
    }
    if metadata.package("qila-cli").is_none() {
        return Ok(None);
    }
    let mut build = shell::cargo(["build", "--release", "-p", "qila-cli"]);
    shell::succeed(build.current_dir(root()))?;
    built(metadata, "qila").map(Some)
}

/// The newest release build of that program: a static build names its target, and lands in that target's folder.
pub fn built(metadata: &Metadata, program: &str) -> Result<PathBuf, Error> {
    ["x86_64-unknown-linux-gnu/release", "release"]
        .iter()
        .map(|folder| metadata.target_folder.join(folder).join(program))
        .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
        .max()
        .map(|(_, path)| path)
        .ok_or_else(|| Error::Unexpected(format!("the release build left no `{program}`")))
}
