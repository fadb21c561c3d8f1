//! Clauses that cannot both hold: found in the whole policy, after all files are laid over each other.
mod budgets;
mod conditions;
mod hosts;
mod paths;
mod variables;

use crate::error::Contradiction;
use crate::parse::Draft;
use crate::parse::tree::Mark;

/// A contradiction, the clause it is in, and its place.
pub(crate) type Found = (Mark, String, Contradiction);

/// Every contradiction of a policy.
pub(crate) fn find(draft: &Draft) -> Vec<Found> {
    let mut out = Vec::new();
    hosts::find(draft, &mut out);
    conditions::find(draft, &mut out);
    budgets::find(draft, &mut out);
    paths::find(draft, &mut out);
    variables::find(draft, &mut out);
    let syscalls = &draft.policy.syscalls;
    for (name, at) in syscalls.deny.iter().zip(&draft.marks.syscalls_deny) {
        if syscalls.allow.contains(name) {
            out.push((
                *at,
                "syscalls.deny".to_owned(),
                Contradiction::SyscallBoth(name.clone()),
            ));
        }
    }
    out
}
