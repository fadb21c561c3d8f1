//! Which system calls the agent may make.
use serde::Serialize;

/// The `syscalls` clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Syscalls {
    /// The list to start from.
    pub base: SyscallBase,
    /// Names allowed beyond it; never one that escapes the sandbox.
    pub allow: Vec<String>,
    /// Names denied beneath it.
    pub deny: Vec<String>,
}

/// The list to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyscallBase {
    /// What compilers, interpreters, browsers and build tools need.
    Default,
    /// `default` without debugging, performance, SysV IPC and rarely used calls.
    Strict,
}
