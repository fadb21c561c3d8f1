//! What the source text itself must and must not hold.
use std::path::{Path, PathBuf};

use super::Finding;
use crate::error::Error;
use crate::metadata::Metadata;
use crate::tables::{LONG_FILES, LONGEST_FILE, UNSAFE};
use crate::tree;

/// Every crate root but one forbids unsafe code, so that no module below can allow it.
pub fn unsafe_code(metadata: &Metadata, files: &[PathBuf]) -> Result<Finding, Error> {
    let mut found = Vec::new();
    for package in metadata.packages.iter().filter(|package| package.name != UNSAFE) {
        for root in &package.roots {
            let text = std::fs::read_to_string(root).map_err(Error::file("read", root))?;
            if !forbids_unsafe(&text) {
                found.push(format!("{} lacks #![forbid(unsafe_code)]", relative(root)));
            }
        }
        // Tests, examples and benches are crate roots of their own: the workspace lint denies, an allow would lift it.
        for file in files
            .iter()
            .map(|file| tree::root().join(file))
            .filter(|file| is_rust(file))
        {
            if file.starts_with(&package.folder) {
                let text = std::fs::read_to_string(&file).map_err(Error::file("read", &file))?;
                if allows_unsafe(&text) {
                    found.push(format!(
                        "{} allows unsafe code, which belongs in {UNSAFE}",
                        relative(&file)
                    ));
                }
            }
        }
    }
    Ok(Finding::from_complaints(found))
}

fn forbids_unsafe(text: &str) -> bool {
    text.lines()
        .any(|line| line.trim_start().starts_with("#![forbid(unsafe_code"))
}

fn allows_unsafe(text: &str) -> bool {
    text.lines().map(str::trim_start).any(|line| {
        (line.starts_with("#![allow(") || line.starts_with("#[allow(") || line.starts_with("#[expect("))
            && line.contains("unsafe_code")
    })
}

/// No Rust file is longer than the limit without a stated reason, and no stated reason is stale.
pub fn lengths(files: &[PathBuf]) -> Result<Finding, Error> {
    let mut measured = Vec::new();
    for file in files.iter().filter(|file| is_rust(file)) {
        let path = tree::root().join(file);
        let text = std::fs::read(&path).map_err(Error::file("read", &path))?;
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        measured.push((file.to_string_lossy().into_owned(), lines));
    }
    Ok(Finding::from_complaints(length_complaints(&measured, LONG_FILES)))
}

fn length_complaints(measured: &[(String, usize)], allowed: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, lines) in measured {
        if *lines > LONGEST_FILE && !allowed.iter().any(|(path, _)| path == name) {
            found.push(format!("{name} has {lines} lines, more than {LONGEST_FILE}"));
        }
    }
    for (path, _) in allowed {
        if !measured
            .iter()
            .any(|(name, lines)| name == path && *lines > LONGEST_FILE)
        {
            found.push(format!(
                "{path} is in LONG_FILES (xtask/src/tables.rs) but is not long"
            ));
        }
    }
    found
}

fn is_rust(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "rs")
}

fn relative(file: &Path) -> String {
    file.strip_prefix(tree::root())
        .unwrap_or(file)
        .display()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidding_must_be_an_attribute_and_not_a_comment() {
        assert!(forbids_unsafe("//! A crate.\n#![forbid(unsafe_code)]\n"));
        assert!(forbids_unsafe("#![forbid(unsafe_code, reason = \"x\")]\n"));
        assert!(!forbids_unsafe("// #![forbid(unsafe_code)]\n"));
        assert!(!forbids_unsafe("#![deny(unsafe_code)]\n"));
    }

    #[test]
    fn an_allow_is_seen_in_each_of_its_forms() {
        assert!(allows_unsafe("    #[allow(unsafe_code)]\n"));
        assert!(allows_unsafe("#![allow(dead_code, unsafe_code)]\n"));
        assert!(allows_unsafe("#[expect(unsafe_code, reason = \"x\")]\n"));
        assert!(!allows_unsafe(
            "#[allow(dead_code)]\nlet name = \"unsafe_code\";\n"
        ));
    }

    #[test]
    fn long_files_need_a_line_and_stale_lines_fail() {
        let files = [
            ("a.rs".to_owned(), LONGEST_FILE),
            ("b.rs".to_owned(), LONGEST_FILE + 1),
        ];
        assert_eq!(length_complaints(&files, &[]).len(), 1);
        assert_eq!(length_complaints(&files, &[("b.rs", "a table")]).len(), 0);
        assert_eq!(
            length_complaints(&files, &[("b.rs", "a table"), ("a.rs", "once")]).len(),
            1
        );
    }
}
