//! `cargo xtask docs`: files that `qila` writes and the tree keeps, and whether they are current.
use std::path::Path;
use std::process::{Command, Stdio};

use crate::check::Finding;
use crate::error::Error;
use crate::metadata::Metadata;
use crate::tables::GENERATED;
use crate::{shell, tree};

/// Writes every generated file anew.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    if let Some(extra) = arguments.first() {
        return Err(Error::Usage(format!("`docs` takes no arguments, got `{extra}`")));
    }
    let metadata = Metadata::read()?;
    let Some(qila) = tree::release_qila(&metadata)? else {
        return Err(Error::Unexpected("the workspace has no `qila` yet".to_owned()));
    };
    for (path, words) in GENERATED {
        let path = tree::root().join(path);
        let text = print(&qila, words)?;
        if let Some(folder) = path.parent() {
            shell::make_folder(folder)?;
        }
        std::fs::write(&path, text).map_err(Error::file("write", &path))?;
        println!("wrote {}", path.display());
    }
    Ok(true)
}

/// Compares every generated file with what `qila` prints now.
pub fn check(metadata: &Metadata) -> Result<Finding, Error> {
    let Some(qila) = tree::release_qila(metadata)? else {
        return Ok(Finding::Skipped("the workspace has no `qila` yet".to_owned()));
    };
    let mut found = Vec::new();
    for (path, words) in GENERATED {
        match (std::fs::read(tree::root().join(path)), print(&qila, words)) {
            (Ok(kept), Ok(printed)) if kept == printed => {}
            (Ok(_), Ok(_)) => found.push(format!("{path} is out of date: run `cargo xtask docs`")),
            (Err(_), Ok(_)) => found.push(format!("{path} is missing: run `cargo xtask docs`")),
            (_, Err(error)) => found.push(format!("{path}: {error}")),
        }
    }
    Ok(Finding::from_complaints(found))
}

fn print(qila: &Path, words: &[&str]) -> Result<Vec<u8>, Error> {
    shell::output(Command::new(qila).args(words).stderr(Stdio::inherit()))
}
