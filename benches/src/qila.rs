//! Qila's own command lines.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::Missing;
use crate::scratch::Scratch;
use crate::timing::Program;

/// The built `qila` with a state folder of this run's own.
#[derive(Debug, Clone)]
pub struct Qila {
    binary: PathBuf,
    home: PathBuf,
}

/// A policy with the gateway and one credential, as an agent with a model key has it.
const GATEWAY_POLICY: &str = "\
version: 1
extends: offline
network:
  allow:
    - host: api.model.test
      ports: [443]
      credential: model
credentials:
  model:
    source: env:QILA_BENCH_KEY
    placement: bearer
    hosts: [api.model.test]
    env: [MODEL_API_KEY]
";

impl Qila {
    /// Takes the binary that `QILA_BIN` names.
    pub fn find(scratch: &Scratch) -> Result<Qila, Missing> {
        let binary = std::env::var_os("QILA_BIN")
            .map(PathBuf::from)
            .ok_or_else(|| Missing::Absent("no `qila` was built (QILA_BIN is unset)".to_owned()))?;
        if !binary.is_file() {
            return Err(Missing::Broken(format!("{} is not there", binary.display())));
        }
        Ok(Qila {
            binary,
            home: scratch.sub("home")?,
        })
    }

    /// `qila run -q` with these options and this command, in that workspace.
    pub fn run(&self, name: &'static str, workspace: &Path, options: &[&str], command: &[&str]) -> Program {
        let binary = self.binary.display().to_string();
        let words = [&[binary.as_str(), "run", "-q"], options, &["--"], command].concat();
        let mut program = Program::new(name, workspace, words);
        program
            .variables
            .push(("QILA_HOME".to_owned(), self.home.display().to_string()));
        program.variables.push((
            "QILA_BENCH_KEY".to_owned(),
            "sk-bench-0123456789abcdef".to_owned(),
        ));
        program
    }

    /// The options for a run with the gateway and one credential; the model's API answers at `upstream`.
    pub fn with_gateway(&self, scratch: &Scratch, upstream: SocketAddr) -> Result<[String; 5], Missing> {
        self.has_gateway()?;
        let policy = policy(scratch, "gateway", GATEWAY_POLICY)?;
        let upstream = format!("--upstream=api.model.test:443={upstream}");
        Ok([
            "--policy".to_owned(),
            policy,
            "--isolation".to_owned(),
            "container".to_owned(),
            upstream,
        ])
    }

    /// Whether this `qila` has a gateway at all: asked of its help, so that a gateway that fails is not taken for none.
    pub fn has_gateway(&self) -> Result<(), Missing> {
        let help = Command::new(&self.binary)
            .args(["run", "--help"])
            .output()
            .map_err(|error| Missing::Broken(format!("cannot start {}: {error}", self.binary.display())))?;
        if String::from_utf8_lossy(&help.stdout).contains("--upstream") {
            Ok(())
        } else {
            Err(Missing::Absent(
                "needs network: this `qila` has no gateway yet".to_owned(),
            ))
        }
    }
}

/// Writes a policy file and returns its path.
pub fn policy(scratch: &Scratch, name: &str, text: &str) -> Result<String, String> {
    let path = scratch.folder.join(format!("{name}.yaml"));
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path.display().to_string())
}
