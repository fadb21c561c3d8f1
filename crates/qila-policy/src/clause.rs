//! The clauses of a policy by name: what a refusal, an explanation and `--allow-unenforced` speak of.
use crate::model::{MemoryLimit, Policy, SyscallBase, WorkspaceMode};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

macro_rules! clauses {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// One clause of a policy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ClauseId { $(#[doc = $doc] $variant,)* }

        impl ClauseId {
            /// Every clause, in the order of the policy.
            pub const ALL: &[ClauseId] = &[$(ClauseId::$variant,)*];

            /// Its name, as the policy spells the way to it.
            pub fn as_str(self) -> &'static str {
                match self { $(ClauseId::$variant => $name,)* }
            }

            /// What it is about, in a few words.
            pub fn describe(self) -> &'static str {
                match self { $(ClauseId::$variant => $doc,)* }
            }
        }
    };
}

clauses! {
    Isolation "isolation" "the tier that is asked for",
    Cpu "resources.cpu" "processor time",
    Memory "resources.memory" "memory",
    Processes "resources.processes" "processes and threads",
    OpenFiles "resources.open_files" "open files of one process",
    Disk "resources.disk" "bytes written to disk",
    DiskIo "resources.disk_io" "rates of block devices",
    WallTime "resources.wall_time" "wall-clock time",
    Output "resources.output" "bytes of output",
    Base "filesystem.base" "the system's own files",
    Workspace "filesystem.workspace" "the workspace",
    Read "filesystem.read" "further readable paths",
    Write "filesystem.write" "further writable paths",
    Hide "filesystem.hide" "hidden paths",
    Allow "network.allow" "hosts that may be reached",
    Rates "network.rates" "network rates",
    Loopback "network.loopback" "the sandbox's own loopback",
    UnixSockets "network.unix_sockets" "unix sockets",
    Credentials "credentials" "credentials that the gateway places",
    Budgets "budgets" "what may be spent",
    Traces "traces" "what is kept of calls to models",
    Syscalls "syscalls" "system calls",
    Environment "environment" "environment variables",
}

impl fmt::Display for ClauseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ClauseId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A text that names no clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no clause `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
pub struct UnknownClause {
    /// What was written.
    pub name: String,
    /// The nearest clause.
    pub nearest: Option<String>,
}

impl FromStr for ClauseId {
    type Err = UnknownClause;

    /// Reads `resources.memory`, or its last part alone: `memory`.
    fn from_str(text: &str) -> Result<ClauseId, UnknownClause> {
        let last = |c: &ClauseId| c.as_str().rsplit('.').next().unwrap_or_default();
        let all = || ClauseId::ALL.iter();
        let found = all()
            .find(|c| c.as_str() == text)
            .or_else(|| all().find(|c| last(c) == text));
        found.copied().ok_or_else(|| UnknownClause {
            name: text.chars().take(64).collect(),
            nearest: crate::parse::keys::nearest(text, all().flat_map(|c| [c.as_str(), last(c)])),
        })
    }
}

impl Policy {
    /// The clauses in force: those that limit, allow or hide something. A clause that is not listed asks nothing of a tier.
    ///
    /// `base`, `workspace`, `network.allow` (nothing is reached but what it names), `syscalls` and `environment` always are.
    pub fn clauses(&self) -> Vec<ClauseId> {
        ClauseId::ALL
            .iter()
            .copied()
            .filter(|c| self.in_force(*c))
            .collect()
    }

    /// Whether the policy asks a tier to enforce this clause.
    pub fn in_force(&self, clause: ClauseId) -> bool {
        let (r, n, f) = (&self.resources, &self.network, &self.filesystem);
        match clause {
            ClauseId::Isolation => self.isolation.is_some(),
            ClauseId::Cpu => r.cpu.is_some(),
            ClauseId::Memory => r.memory.is_some(),
            ClauseId::Processes => r.processes.is_some(),
            ClauseId::OpenFiles => r.open_files.is_some(),
            ClauseId::Disk => r.disk.is_some(),
            ClauseId::DiskIo => r.disk_read.is_some() || r.disk_write.is_some(),
            ClauseId::WallTime => r.wall_time.is_some(),
            ClauseId::Output => r.output.is_some(),
            ClauseId::Base | ClauseId::Workspace | ClauseId::Allow => true,
            ClauseId::Syscalls | ClauseId::Environment => true,
            ClauseId::Read => !f.read.is_empty(),
            ClauseId::Write => !f.write.is_empty(),
            ClauseId::Hide => !f.hide.is_empty(),
            ClauseId::Rates => n.rates != Default::default() || n.allow.iter().any(|a| a.rate.is_some()),
            ClauseId::Loopback => !n.loopback,
            ClauseId::UnixSockets => n.unix_sockets.is_some() || self.writes_host_directories(),
            ClauseId::Credentials => !self.credentials.is_empty(),
            ClauseId::Budgets => !self.budgets.is_empty(),
            ClauseId::Traces => self.traces != Default::default(),
        }
    }

    /// Whether the clause accepts no weaker mechanism than the hard one: `{hard: …}`.
    pub fn is_hard(&self, clause: ClauseId) -> bool {
        match clause {
            ClauseId::Memory => matches!(self.resources.memory, Some(MemoryLimit { hard: true, .. })),
            ClauseId::Disk => self.resources.disk.is_some_and(|d| d.hard),
            _ => false,
        }
    }

    /// Whether the agent may write paths of the host itself.
    pub fn writes_host_directories(&self) -> bool {
        !self.filesystem.write.is_empty() || self.filesystem.workspace == WorkspaceMode::Direct
    }

    /// Whether anything may leave: without it a sandbox needs no gateway.
    pub fn needs_gateway(&self) -> bool {
        !self.network.allow.is_empty()
    }

    /// Whether the system calls are those of `default` as it is.
    pub fn plain_syscalls(&self) -> bool {
        let s = &self.syscalls;
        s.base == SyscallBase::Default && s.allow.is_empty() && s.deny.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_in_both_forms() {
        for clause in ClauseId::ALL {
            assert_eq!(clause.as_str().parse(), Ok(*clause));
            let last = clause.as_str().rsplit('.').next().unwrap();
            assert_eq!(last.parse(), Ok(*clause), "{last}");
        }
        let error = "resources.memroy".parse::<ClauseId>().unwrap_err();
        assert_eq!(error.nearest.as_deref(), Some("resources.memory"));
    }
}
