//! `cargo xtask docs`: files of `docs/` that code writes.
use crate::error::Error;
use crate::{shell, tree};

/// Writes the policy's schema and reference anew. The same test, run without the variable, finds them out of date.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    if let Some(extra) = arguments.first() {
        return Err(Error::Usage(format!("`docs` takes no arguments, got `{extra}`")));
    }
    let mut bless = shell::cargo(["test", "--quiet", "-p", "qila-policy", "--test", "docs"]);
    shell::succeed(bless.current_dir(tree::root()).env("QILA_BLESS", "1"))?;
    Ok(true)
}
