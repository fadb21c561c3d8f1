//! `cargo xtask check`: everything that can be judged without running Qila.
mod layers;
mod sources;
mod tools;
mod versions;

use crate::error::Error;
use crate::metadata::Metadata;
use crate::{deny, tree};

/// What one check found.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// Nothing wrong.
    Passed,
    /// What is wrong, a line each.
    Failed(Vec<String>),
    /// Why it could not be judged here.
    Skipped(String),
}

impl Finding {
    /// Passed when there are no complaints.
    pub fn from_complaints(complaints: Vec<String>) -> Finding {
        if complaints.is_empty() {
            Finding::Passed
        } else {
            Finding::Failed(complaints)
        }
    }
}

/// Runs every check and prints the closing line.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    if let Some(extra) = arguments.first() {
        return Err(Error::Usage(format!("`check` takes no arguments, got `{extra}`")));
    }
    let metadata = Metadata::read()?;
    let files = tree::files()?;
    let findings = [
        ("formatting", tools::formatting()?),
        ("layering", layers::check(&metadata)),
        ("unsafe", sources::unsafe_code(&metadata, &files)?),
        ("file lengths", sources::lengths(&files)?),
        ("versions", versions::check(&metadata)),
        ("licences and advisories", deny::judge(&metadata)?),
        ("lints", tools::lints()?),
    ];
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, finding) in &findings {
        match finding {
            Finding::Passed => {
                passed += 1;
                println!("passed: {name}");
            }
            Finding::Failed(complaints) => {
                failed += 1;
                println!("failed: {name}");
                complaints.iter().for_each(|complaint| println!("  {complaint}"));
            }
            Finding::Skipped(reason) => {
                skipped += 1;
                println!("skipped: {name}: {reason}");
            }
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}
