//! The agent's environment: what the policy passes on and sets, and nothing else.
use qila_policy::model::Environment;
use serde::{Serialize, Serializer};

/// Who asks for a run, and for what.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Command and arguments.
    pub argv: Vec<Vec<u8>>,
    /// The caller's environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Working directory, absolute and resolved.
    pub cwd: String,
    /// Home directory, absolute and resolved; none where the caller has none.
    pub home: Option<String>,
    /// Workspace on the host, absolute and resolved.
    pub workspace: Option<String>,
    /// Directory of this run's own state, absolute.
    pub run_dir: String,
    /// Name that tells this run's cgroups apart.
    pub run: String,
    /// Size of the terminal, if the agent is to have one.
    pub terminal: Option<qila_wire::Size>,
    /// What a sandbox that is served has instead of a caller's home and workspace.
    pub seat: Option<Seat>,
}

/// The home directory of a sandbox that belongs to no caller: files of its own, in layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Where it is inside.
    pub home: String,
    /// Directories on the host that it begins with, the uppermost first.
    pub lower: Vec<String>,
    /// Programs of Qila's own that are shown: where on the host, and where inside.
    pub programs: Vec<(String, String)>,
}

/// One variable of the agent's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// Name.
    pub name: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
    /// Whether the value is the policy's or Qila's own and may be printed.
    pub printable: bool,
}

impl Serialize for EnvVar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = String::from_utf8_lossy(&self.name);
        if self.printable {
            serializer.serialize_str(&format!("{name}={}", String::from_utf8_lossy(&self.value)))
        } else {
            serializer.serialize_str(&format!("{name} (from the caller)"))
        }
    }
}

/// Passed on whatever the policy says: without them hardly a program starts properly, and none of them is a secret.
const ALWAYS: [&str; 6] = ["PATH", "USER", "LOGNAME", "SHELL", "TERM", "LANG"];

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Puts the environment together. Later entries win: passed on, Qila's own, the policy's, then `extra`. An image knows
/// better than the caller where its programs are, unless the policy passes the caller's `PATH` on by name.
pub(crate) fn assemble(
    policy: &Environment,
    caller: &Caller,
    image_path: Option<&str>,
    home: &str,
    extra: &[(String, String)],
    own: &[(&str, String)],
) -> Vec<EnvVar> {
    let mut out: Vec<EnvVar> = Vec::new();
    let mut put = |name: &[u8], value: &[u8], printable: bool| {
        out.retain(|v| v.name != name);
        out.push(EnvVar {
            name: name.to_vec(),
            value: value.to_vec(),
            printable,
        });
    };
    put(b"PATH", image_path.unwrap_or(DEFAULT_PATH).as_bytes(), true);
    for (name, value) in &caller.env {
        let image_knows = image_path.is_some() && name == b"PATH" && !named(policy, name);
        if passes(policy, name) && !image_knows {
            put(name, value, false);
        }
    }
    put(b"HOME", home.as_bytes(), true);
    put(b"PWD", caller.cwd.as_bytes(), true);
    for (name, value) in own {
        put(name.as_bytes(), value.as_bytes(), true);
    }
    for (name, value) in &policy.set {
        put(name.as_bytes(), value.as_bytes(), true);
    }
    for (name, value) in extra {
        put(name.as_bytes(), value.as_bytes(), false);
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

fn passes(policy: &Environment, name: &[u8]) -> bool {
    ALWAYS.iter().any(|n| name == n.as_bytes()) || named(policy, name)
}

fn named(policy: &Environment, name: &[u8]) -> bool {
    let names = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    };
    policy.pass.iter().any(|p| names(p))
}
