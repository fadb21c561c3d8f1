//! The table of a run, for `docs/escape.md`.
use crate::matrix::{Row, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

fn cell(row: &Row) -> String {
    let attack = match &row.attack {
        Verdict::Good => "held",
        Verdict::Bad(_) => "**broken**",
        Verdict::Known(_) => "**known breach**",
        Verdict::Refused(_) => "refused",
        Verdict::Untried(_) => "**not tried**",
        Verdict::Skipped(_) => return "skipped".into(),
    };
    let twin = match &row.twin {
        Verdict::Good => "works",
        Verdict::Refused(_) => "refused",
        _ => "**dead**",
    };
    format!("{attack} / {twin}")
}

/// One line for each attack, one column for each target and user.
pub fn table(rows: &[Row]) -> String {
    let mut columns = BTreeSet::new();
    let mut lines: BTreeMap<(&str, &str), BTreeMap<_, String>> = BTreeMap::new();
    let mut reasons = BTreeSet::new();
    for row in rows {
        let column = (row.target, row.user);
        columns.insert(column);
        lines
            .entry((row.item, row.name))
            .or_default()
            .insert(column, cell(row));
        match &row.attack {
            Verdict::Known(why) => reasons.insert(format!("- `{}`: {why}", row.name)),
            Verdict::Skipped(why) => reasons.insert(format!("- `{}` skipped: {why}", row.name)),
            _ => false,
        };
    }
    let heads: Vec<String> = columns.iter().map(|(t, u)| format!("{t}, {u}")).collect();
    let mut out = format!(
        "| item | attack | {} |\n|---|---|{}\n",
        heads.join(" | "),
        "---|".repeat(heads.len())
    );
    for ((item, name), cells) in &lines {
        let _ = write!(out, "| {item} | `{name}` |");
        for column in &columns {
            let _ = write!(out, " {} |", cells.get(column).map_or("", String::as_str));
        }
        out.push('\n');
    }
    out.push('\n');
    for ((target, user), head) in columns.iter().zip(&heads) {
        let of = || rows.iter().filter(|r| (r.target, r.user) == (*target, *user));
        let count = |want: fn(&Verdict) -> bool| of().filter(|r| want(&r.attack)).count();
        let _ = writeln!(
            out,
            "- {head}: {} attacks: {} held, {} refused by clause, {} known breaches, {} broken, {} not tried, {} skipped; {} twins work",
            of().count(),
            count(|v| *v == Verdict::Good),
            count(|v| matches!(v, Verdict::Refused(_))),
            count(|v| matches!(v, Verdict::Known(_))),
            count(|v| matches!(v, Verdict::Bad(_))),
            count(|v| matches!(v, Verdict::Untried(_))),
            count(|v| matches!(v, Verdict::Skipped(_))),
            of().filter(|r| r.twin == Verdict::Good).count()
        );
    }
    reasons.iter().for_each(|line| out.push_str(&format!("{line}\n")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_held_stands_out() {
        let row = |name, attack, twin| Row {
            name,
            item: "x",
            promise: "P1".into(),
            target: "process",
            user: "root",
            attack,
            twin,
        };
        let text = table(&[
            row("a", Verdict::Good, Verdict::Good),
            row("b", Verdict::Known("why".into()), Verdict::Untried("dead".into())),
        ]);
        assert!(text.contains("| x | `a` | held / works |"), "{text}");
        assert!(
            text.contains("| x | `b` | **known breach** / **dead** |"),
            "{text}"
        );
        assert!(
            text.contains("2 attacks: 1 held, 0 refused by clause, 1 known"),
            "{text}"
        );
    }
}
