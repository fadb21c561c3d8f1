//! The test programs of the workspace, built once and run by both passes.
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::error::Error;
use crate::metadata::Metadata;
use crate::{shell, tree};

/// One built test program.
#[derive(Debug)]
pub struct TestBinary {
    /// Package that it belongs to.
    pub package: String,
    /// Target inside the package: the library's own tests, or a file of `tests/`.
    pub target: String,
    /// The package's folder, where cargo would start it.
    pub folder: PathBuf,
    /// The program.
    pub executable: PathBuf,
}

impl TestBinary {
    /// How the reports call it.
    pub fn title(&self) -> String {
        if self.target == self.package.replace('-', "_") || self.target == self.package {
            self.package.clone()
        } else {
            format!("{}/{}", self.package, self.target)
        }
    }

    /// Gives it the folder and variables that `cargo test` would.
    pub fn prepare(&self, command: &mut Command) {
        command.current_dir(&self.folder);
        command.env("CARGO_MANIFEST_DIR", &self.folder);
        command.env("CARGO_PKG_NAME", &self.package);
        command.env("INSTA_WORKSPACE_ROOT", tree::root());
        // Snapshots are judged here, never rewritten.
        command.env("INSTA_UPDATE", "no");
    }
}

/// Builds every test program of the workspace, or of the packages whose name has one of these words.
pub fn build(metadata: &Metadata, words: &[String]) -> Result<Vec<TestBinary>, Error> {
    let mut command = shell::cargo(["test", "--no-run", "--message-format=json-render-diagnostics"]);
    let chosen = |name: &str| words.iter().any(|word| name.contains(word.as_str()));
    let names = metadata.packages.iter().map(|package| package.name.as_str());
    let names: Vec<&str> = names.filter(|name| chosen(name)).collect();
    match (words, names.as_slice()) {
        ([], _) => drop(command.arg("--workspace")),
        (_, []) => {
            return Err(Error::Usage(format!(
                "no package is called like {}",
                words.join(" ")
            )));
        }
        _ => names.iter().for_each(|name| _ = command.args(["-p", name])),
    }
    let text = shell::output(command.current_dir(tree::root()))?;
    parse(&String::from_utf8_lossy(&text), metadata)
}

/// Reads cargo's messages: one JSON object a line.
fn parse(text: &str, metadata: &Metadata) -> Result<Vec<TestBinary>, Error> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let message: Value =
            serde_json::from_str(line).map_err(|source| Error::Json("cargo test --no-run", source))?;
        let is_test = message.pointer("/profile/test").and_then(Value::as_bool) == Some(true);
        let executable = message.get("executable").and_then(Value::as_str);
        let (true, Some(executable)) = (is_test, executable) else {
            continue;
        };
        let folder = message
            .get("manifest_path")
            .and_then(Value::as_str)
            .and_then(|path| PathBuf::from(path).parent().map(PathBuf::from))
            .unwrap_or_default();
        let package = metadata.packages.iter().find(|package| package.folder == folder);
        found.push(TestBinary {
            package: package.map(|package| package.name.clone()).unwrap_or_default(),
            target: message
                .pointer("/target/name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            folder,
            executable: PathBuf::from(executable),
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_are_taken() {
        let metadata = Metadata::parse(
            br#"{"target_directory":"/t","packages":[{"name":"qila-cli","manifest_path":"/w/cli/Cargo.toml"}]}"#,
        )
        .expect("valid");
        let text = r#"
{"reason":"compiler-artifact","manifest_path":"/w/cli/Cargo.toml","target":{"name":"qila"},"profile":{"test":false},"executable":"/t/qila"}
{"reason":"compiler-artifact","manifest_path":"/w/cli/Cargo.toml","target":{"name":"run"},"profile":{"test":true},"executable":"/t/run-1"}
{"reason":"compiler-artifact","manifest_path":"/w/cli/Cargo.toml","target":{"name":"x"},"profile":{"test":true},"executable":null}
{"reason":"build-finished","success":true}"#;
        let found = parse(text, &metadata).expect("valid");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].title(), "qila-cli/run");
        assert_eq!(found[0].executable, PathBuf::from("/t/run-1"));
        assert!(parse("{broken", &metadata).is_err());
    }
}
