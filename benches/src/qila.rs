//! Qila's own command lines.
use std::path::{Path, PathBuf};

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
    pub fn find(scratch: &Scratch) -> Result<Qila, String> {
        let binary = std::env::var_os("QILA_BIN")
            .map(PathBuf::from)
            .ok_or("no `qila` was built (QILA_BIN is unset)")?;
        if !binary.is_file() {
            return Err(format!("{} is not there", binary.display()));
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

    /// Writes the policy with the gateway and one credential.
    pub fn gateway_policy(&self, scratch: &Scratch) -> Result<String, String> {
        policy(scratch, "gateway", GATEWAY_POLICY)
    }
}

/// Writes a policy file and returns its path.
pub fn policy(scratch: &Scratch, name: &str, text: &str) -> Result<String, String> {
    let path = scratch.folder.join(format!("{name}.yaml"));
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path.display().to_string())
}
