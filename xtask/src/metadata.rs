//! The parts of `cargo metadata` that the checks need.
use std::path::PathBuf;

use serde_json::Value;

use crate::error::Error;
use crate::{shell, tree};

/// The workspace as cargo sees it.
#[derive(Debug)]
pub struct Metadata {
    /// Packages of the workspace.
    pub packages: Vec<Package>,
    /// Where cargo puts what it builds.
    pub target_folder: PathBuf,
}

/// One package of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The folder with its manifest.
    pub folder: PathBuf,
    /// What it depends on, inside the workspace and out.
    pub dependencies: Vec<Dependency>,
    /// Root files of its libraries and binaries.
    pub roots: Vec<PathBuf>,
    binaries: Vec<String>,
}

impl Package {
    /// Names of its programs.
    pub fn binaries(&self) -> impl Iterator<Item = &str> {
        self.binaries.iter().map(String::as_str)
    }
}

/// One edge of the dependency graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The package that is depended on.
    pub name: String,
    /// Only for tests, examples and benchmarks.
    pub only_dev: bool,
    /// Any version of a crate that a registry holds.
    pub any_version: bool,
}

impl Metadata {
    /// Asks cargo.
    pub fn read() -> Result<Metadata, Error> {
        let mut command = shell::cargo(["metadata", "--format-version", "1", "--no-deps"]);
        let text = shell::output(command.current_dir(tree::root()))?;
        Metadata::parse(&text)
    }

    /// Reads what `cargo metadata --no-deps` prints.
    pub fn parse(text: &[u8]) -> Result<Metadata, Error> {
        let value: Value =
            serde_json::from_slice(text).map_err(|source| Error::Json("cargo metadata", source))?;
        let mut packages: Vec<Package> = list(&value, "packages").iter().map(package).collect();
        packages.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(Metadata {
            packages,
            target_folder: PathBuf::from(text_of(&value, "target_directory")),
        })
    }

    /// The package of that name.
    pub fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

fn package(value: &Value) -> Package {
    let manifest = PathBuf::from(text_of(value, "manifest_path"));
    let dependencies = list(value, "dependencies").iter().map(|dependency| Dependency {
        name: text_of(dependency, "name"),
        only_dev: dependency.get("kind").and_then(Value::as_str) == Some("dev"),
        any_version: text_of(dependency, "req") == "*" && !text_of(dependency, "source").is_empty(),
    });
    let roots = list(value, "targets").iter().filter(|target| {
        list(target, "kind")
            .iter()
            .any(|kind| matches!(kind.as_str(), Some("lib" | "bin" | "proc-macro")))
    });
    let is_binary = |target: &&Value| list(target, "kind").iter().any(|kind| kind == "bin");
    let binaries = list(value, "targets").iter().filter(is_binary);
    Package {
        binaries: binaries.map(|target| text_of(target, "name")).collect(),
        name: text_of(value, "name"),
        folder: manifest.parent().map(PathBuf::from).unwrap_or_default(),
        dependencies: dependencies.collect(),
        roots: roots
            .map(|target| PathBuf::from(text_of(target, "src_path")))
            .collect(),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text_of(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
