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
    /// Where the parts of a rule stand.
    pub allow_parts: Vec<RuleMarks>,
    pub credentials: Vec<Mark>,
    pub credential_hosts: Vec<Vec<Mark>>,
    pub credential_env: Vec<Vec<Mark>>,
    pub budgets: Vec<Mark>,
    pub pass: Vec<Mark>,
    /// By name, in the order of `environment.set`.
    pub set: Vec<(String, Mark)>,
    pub syscalls_deny: Vec<Mark>,
}

/// Where the parts of one rule stand that its credential may contradict.
#[derive(Debug)]
pub(crate) struct RuleMarks {
    /// The credential's name; the rule's own place where it names none.
    pub credential: Mark,
    /// Conditions on the query, in the order of their names.
    pub query: Vec<Mark>,
    /// Conditions on headers, in the order of their names.
    pub headers: Vec<Mark>,
    /// The expert condition; the rule's own place where there is none.
    pub when: Mark,
}
