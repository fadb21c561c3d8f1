//! Where the programs and what they need are.
use qila_agents::skip::Skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One program that uses an SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// In Python, by the name of its file without the ending.
    Python(&'static str),
    /// In JavaScript.
    Node(&'static str),
}

/// Where `setup.sh` installs the SDKs.
pub fn tools() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root).join("target/sdk")
}

impl Part {
    /// As it calls itself.
    pub fn name(self) -> String {
        match self {
            Part::Python(name) => format!("python/{name}"),
            Part::Node(name) => format!("node/{name}"),
        }
    }

    /// The command that runs it in this directory, if what it needs is installed.
    pub fn command(self, scratch: &Path) -> Result<Command, Skip> {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let missing = |what: &str| Skip::because(format!("no {what}: run tests/sdk/setup.sh"));
        let (program, script) = match self {
            Part::Python(name) => {
                let venv = tools().join("venv");
                if !venv.join("stamp").exists() {
                    return Err(missing("SDKs for Python"));
                }
                (
                    venv.join("bin/python3"),
                    clients.join("python").join(format!("{name}.py")),
                )
            }
            Part::Node(name) => {
                let node = tools().join("node");
                if !node.join("stamp").exists() {
                    return Err(missing("SDKs for JavaScript"));
                }
                // Modules are looked for beside the script.
                let script = scratch.join(format!("{name}.mjs"));
                for file in ["common", name] {
                    let file = format!("{file}.mjs");
                    std::fs::copy(clients.join("node").join(&file), scratch.join(&file)).unwrap();
                }
                let modules = scratch.join("node_modules");
                if !modules.exists() {
                    std::os::unix::fs::symlink(node.join("node_modules"), modules).unwrap();
                }
                (PathBuf::from("node"), script)
            }
        };
        let mut command = Command::new(program);
        command.arg(script).current_dir(scratch);
        Ok(command)
    }
}
