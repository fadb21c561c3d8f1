//! What the agent can spend, and what is kept of what it said to models.
use super::{Clause, can, cannot, rule};
use crate::ClauseId as C;
use crate::model::{Budget, Per, Policy, TraceContent};

pub(super) fn sentences(policy: &Policy, out: &mut Vec<Clause>) {
    for budget in &policy.budgets {
        can(out, C::Budgets, budget_text(budget));
    }
    if !policy.budgets.is_empty() {
        cannot(
            out,
            C::Budgets,
            "cannot begin a request whose worst case would go beyond what is left of any of these",
        );
    }
    match policy.traces.content {
        // The default, of which nothing need be said.
        TraceContent::Hash => {}
        TraceContent::Keep => can(
            out,
            C::Traces,
            "can be read afterwards in what it said to models: text and reasoning are kept, redacted",
        ),
        TraceContent::None => cannot(
            out,
            C::Traces,
            "cannot be read afterwards in what it said to models: neither text and reasoning nor their hash are kept",
        ),
    }
}

fn budget_text(budget: &Budget) -> String {
    let place = match (&budget.host, budget.per) {
        (Some(host), _) => format!(" at {}", rule::host(host)),
        (None, Per::Host) => " at each host by itself".to_owned(),
        (None, _) => String::new(),
    };
    let whose = match budget.per {
        Per::Run | Per::Host => "in this run",
        Per::Agent => "in all runs of this agent together",
    };
    let window = match budget.window {
        Some(window) => format!(", in every {window}"),
        None => String::new(),
    };
    format!("can spend at most {}{place}, {whose}{window}", budget.amount)
}
