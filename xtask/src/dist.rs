//! `cargo xtask dist`: one archive to hand out.
use std::process::Command;

use crate::error::Error;
use crate::metadata::Metadata;
use crate::tables::GENERATED;
use crate::{shell, tree};

/// Packs the release binary, licence, man pages and completions.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    if let Some(extra) = arguments.first() {
        return Err(Error::Usage(format!("`dist` takes no arguments, got `{extra}`")));
    }
    let metadata = Metadata::read()?;
    let Some(qila) = tree::release_qila(&metadata)? else {
        return Err(Error::Unexpected("the workspace has no `qila` yet".to_owned()));
    };
    let name = format!(
        "qila-{}-{}-linux",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH
    );
    let out = metadata.target_folder.join("dist");
    let folder = out.join(&name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(Error::file("remove", &folder))?;
    }
    let kept = GENERATED
        .iter()
        .map(|(path, _)| *path)
        .chain(["LICENSE", "README.md", "CHANGELOG.md"]);
    let sources = kept
        .map(|path| (tree::root().join(path), path))
        .chain([(qila, "bin/qila")]);
    for (from, to) in sources.filter(|(from, _)| from.is_file()) {
        let to = folder.join(to.trim_start_matches("docs/"));
        if let Some(parent) = to.parent() {
            shell::make_folder(parent)?;
        }
        std::fs::copy(&from, &to).map_err(Error::file("copy to", &to))?;
    }
    // Sorted, owned by nobody in particular and without times: the same tree gives the same archive.
    let archive = out.join(format!("{name}.tar.gz"));
    let mut pack = Command::new("tar");
    pack.args([
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
        "-C",
    ]);
    shell::succeed(
        pack.arg(&out)
            .arg("-czf")
            .arg(&archive)
            .arg(&name)
            .env("GZIP", "-n"),
    )?;
    println!("{}", archive.display());
    Ok(true)
}
