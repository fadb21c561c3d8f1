//! A policy in plain words: what an agent under it can do, and what it cannot.
mod access;
mod limits;
mod rule;
mod spend;

use crate::ClauseId;
use crate::model::Policy;
use serde::Serialize;

/// What one clause means for the agent. The command joins it with the mechanism of the chosen tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clause {
    /// The clause.
    pub clause: ClauseId,
    /// Whether the sentence says what the agent can do, or what it cannot.
    pub can: bool,
    /// One sentence. Control characters in it are those of no policy: every part was checked when it was read.
    pub text: String,
}

/// Every sentence about a policy, in the order of [`ClauseId::ALL`]: first what a clause allows, then what it refuses.
pub fn sentences(policy: &Policy) -> Vec<Clause> {
    let mut out = Vec::new();
    limits::sentences(policy, &mut out);
    access::sentences(policy, &mut out);
    spend::sentences(policy, &mut out);
    // Stable: within a clause the order stays as written above.
    out.sort_by_key(|c| (c.clause, !c.can));
    out
}

fn can(out: &mut Vec<Clause>, clause: ClauseId, text: impl Into<String>) {
    out.push(Clause {
        clause,
        can: true,
        text: text.into(),
    });
}

fn cannot(out: &mut Vec<Clause>, clause: ClauseId, text: impl Into<String>) {
    out.push(Clause {
        clause,
        can: false,
        text: text.into(),
    });
}

/// `a, b and c`.
fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let texts: Vec<String> = items.iter().map(|i| i.to_string()).collect();
    match texts.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}
