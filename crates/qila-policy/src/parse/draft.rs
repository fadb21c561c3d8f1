//! A policy whose parts remember where they were written, for the check against contradictions.
use super::tree::Mark;
use crate::model::Policy;

/// A policy and its places. Each list of places runs beside the policy's own list.
#[derive(Debug)]
pub(crate) struct Draft {
    pub policy: Policy,
    pub marks: Marks,
}

/// Where the parts that can contradict each other stand.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub read: Vec<Mark>,
    pub write: Vec<Mark>,
    pub hide: Vec<Mark>,
    pub allow: Vec<Mark>,
    /// Where a rule names its credential; the rule's own place where it names none.
    pub allow_credential: Vec<Mark>,
    pub credentials: Vec<Mark>,
    pub credential_hosts: Vec<Vec<Mark>>,
    pub credential_env: Vec<Vec<Mark>>,
    pub pass: Vec<Mark>,
    /// By name, in the order of `environment.set`.
    pub set: Vec<(String, Mark)>,
    pub syscalls_deny: Vec<Mark>,
}
