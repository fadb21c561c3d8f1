//! Budgets that would count nothing.
use super::Found;
use crate::error::Contradiction;
use crate::model::Amount;
use crate::parse::Draft;

pub(super) fn find(draft: &Draft, out: &mut Vec<Found>) {
    let policy = &draft.policy;
    for (budget, at) in policy.budgets.iter().zip(&draft.marks.budgets) {
        let Some(host) = &budget.host else { continue };
        let mut rules = policy
            .network
            .allow
            .iter()
            .filter(|r| r.host.overlaps(host))
            .peekable();
        let contradiction = if rules.peek().is_none() {
            Contradiction::BudgetHost(host.to_string())
        } else if !matches!(budget.amount, Amount::Bytes(_)) && rules.any(|r| !r.intercepts()) {
            let (host, what) = (host.to_string(), budget.amount.what());
            Contradiction::BudgetPassed { host, what }
        } else {
            continue;
        };
        out.push((*at, "budgets".to_owned(), contradiction));
    }
}
