//! What of the file system is seen, and how.
use serde::Serialize;
use std::fmt;

/// The `filesystem` clause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Filesystem {
    /// Where the system's own files come from.
    pub base: Base,
    /// How the workspace is given.
    pub workspace: WorkspaceMode,
    /// Further paths of the host that may be read and executed.
    pub read: Vec<PolicyPath>,
    /// Further paths of the host that may be written directly.
    pub write: Vec<PolicyPath>,
    /// Paths that are never seen, even beneath a readable one.
    pub hide: Vec<PolicyPath>,
}

/// Where the system's own files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The host's system directories, read only: see `docs/policy.md` for the list. No home directory, no `/var`, no `/run`.
    Host,
    /// A directory that holds a root file system.
    Directory(PolicyPath),
    /// An OCI image layout directory, a colon and the image's name behind it where it holds several.
    OciLayout(PolicyPath),
}

/// How the agent gets the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkspaceMode {
    /// Through a copy-on-write layer; the host's files stay as they are until `qila apply`.
    Layer,
    /// Mounted writable.
    Direct,
    /// Mounted read only.
    ReadOnly,
    /// Not at all.
    None,
}

/// A path as the policy writes it: absolute, or `~/…` beneath the caller's home directory, or `./…` beneath the workspace.
/// No `..`, no empty part, no NUL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PolicyPath(pub String);

impl PolicyPath {
    /// Whether `other` is this path or lies beneath it, as far as the policy alone tells: where `~` and the workspace
    /// lie is known only at plan time.
    pub fn contains(&self, other: &PolicyPath) -> bool {
        self.0 == other.0
            || match self.0.as_str() {
                "/" => other.0.starts_with('/'),
                own => other
                    .0
                    .strip_prefix(own)
                    .is_some_and(|rest| rest.starts_with('/')),
            }
    }

    /// The absolute path, given the home directory and the workspace; none if the one it needs is not known.
    pub fn resolve(&self, home: Option<&str>, workspace: Option<&str>) -> Option<String> {
        let join = |base: &str, rest: &str| match rest {
            "" => base.trim_end_matches('/').to_owned(),
            _ => format!("{}/{rest}", base.trim_end_matches('/')),
        };
        if self.0 == "~" {
            return home.map(str::to_owned);
        }
        if self.0 == "." {
            return workspace.map(str::to_owned);
        }
        if let Some(rest) = self.0.strip_prefix("~/") {
            return home.map(|h| join(h, rest));
        }
        if let Some(rest) = self.0.strip_prefix("./") {
            return workspace.map(|w| join(w, rest));
        }
        self.0.starts_with('/').then(|| self.0.clone())
    }
}

impl fmt::Display for PolicyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containment_goes_by_whole_parts() {
        let path = |t: &str| PolicyPath(t.to_owned());
        for (a, b, want) in [
            ("~/.ssh", "~/.ssh/id", true),
            ("~/.ssh", "~/.ssh", true),
            ("~/.ssh", "~/.sshx", false),
            ("~", "~/.ssh", true),
            (".", "./x", true),
            (".", "/x", false),
            ("/", "/etc", true),
            ("/etc", "/", false),
        ] {
            assert_eq!(path(a).contains(&path(b)), want, "{a} {b}");
        }
    }
}
