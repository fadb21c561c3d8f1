//! The clauses `budgets` and `traces`.
use super::draft::Marks;
use super::filesystem::unique;
use super::network::host;
use super::reader::{Path, Reader};
use super::tree::Node;
use super::{keys, resources};
use crate::error::Problem;
use crate::model::{Amount, Budget, Per, TraceContent, Traces};
use qila_types::{Millis, Money, Tokens};

/// Most requests that a budget may name.
const MAX_REQUESTS: u64 = 1_000_000_000_000;
/// Longest window, in days.
const MAX_WINDOW_DAYS: u64 = 366;
/// Most budgets of a policy: every request is measured against each.
const MAX_BUDGETS: usize = 64;
const QUANTITIES: [&str; 4] = ["money", "tokens", "requests", "bytes"];
const PER: &[(&str, Per)] = &[("run", Per::Run), ("agent", Per::Agent), ("host", Per::Host)];
const CONTENT: &[(&str, TraceContent)] = &[
    ("hash", TraceContent::Hash),
    ("keep", TraceContent::Keep),
    ("none", TraceContent::None),
];

pub(crate) fn budgets(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    marks: &mut Marks,
) -> Vec<Budget> {
    let (budgets, at) = unique(r.each(node, path, budget));
    if let Some(node) = node
        && budgets.len() > MAX_BUDGETS
    {
        let (what, most) = ("budgets", MAX_BUDGETS);
        r.problem(node.at, path, Problem::TooMany { what, most });
    }
    marks.budgets = at;
    budgets
}

fn budget(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Budget> {
    let before = r.diagnostics.len();
    let f = r.fields(node, path, keys::BUDGET);
    let given: Vec<&'static str> = QUANTITIES.into_iter().filter(|k| f.get(k).is_some()).collect();
    let amount = match given.as_slice() {
        [key] => amount(r, f.get(key)?, &path.key(key), key),
        // What is wrong otherwise was said already.
        [] if r.diagnostics.len() > before => None,
        [] => {
            r.problem(f.at, path, Problem::NoQuantity);
            None
        }
        [one, other, ..] => {
            r.problem(f.at, path, Problem::Exclusive { one, other });
            None
        }
    };
    let per = match f.get("per") {
        Some(node) => r.word(node, &path.key("per"), PER),
        None => Some(Per::Run),
    };
    let at = match f.get("host") {
        Some(node) => Some(host(r, node, &path.key("host"))?),
        None => None,
    };
    let window = match f.get("window") {
        Some(node) => Some(window(r, node, &path.key("window"))?),
        None => None,
    };
    if let (Some(Per::Host), Some(entry)) = (per, f.entry("host")) {
        let (one, other) = ("per: host", "host");
        r.problem(entry.key_at, path, Problem::Exclusive { one, other });
    }
    Some(Budget {
        amount: amount?,
        per: per?,
        host: at,
        window,
    })
}

fn amount(r: &mut Reader<'_>, node: &Node, path: &Path<'_>, key: &str) -> Option<Amount> {
    let amount = match key {
        "money" => Amount::Money(r.unit::<Money>(node, path, "an amount of money such as `5 USD`")?),
        "tokens" => Amount::Tokens(r.unit::<Tokens>(node, path, "a number of tokens")?),
        "requests" => Amount::Requests(r.number(node, path, 1, MAX_REQUESTS)?),
        _ => Amount::Bytes(resources::size(r, node, path)?),
    };
    // A size of nothing was refused above, in its own words.
    (matches!(amount, Amount::Bytes(_)) || resources::nonzero(r, node, path, amount.value()))
        .then_some(amount)
}

fn window(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Millis> {
    let time: Millis = r.unit(node, path, "a duration such as `1h` or `1d`")?;
    if time.0 > MAX_WINDOW_DAYS * 86_400_000 || (1..1_000).contains(&time.0) {
        let (text, wanted) = (time.to_string(), "a window from 1s to 366d");
        r.problem(node.at, path, Problem::Form { text, wanted });
        return None;
    }
    resources::nonzero(r, node, path, time.0).then_some(time)
}

pub(crate) fn traces(r: &mut Reader<'_>, node: Option<&Node>, path: &Path<'_>) -> Traces {
    let Some(node) = node else {
        return Traces::default();
    };
    let f = r.fields(node, path, keys::TRACES);
    let content = f
        .get("content")
        .and_then(|n| r.word(n, &path.key("content"), CONTENT));
    Traces {
        content: content.unwrap_or_default(),
    }
}
