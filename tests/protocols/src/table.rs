//! Outcomes, and the tables of them.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How one case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad(String),
    /// Not as it should be, which is known; with the reason.
    Pending(String),
    /// As it should be, although the list says that it is not.
    Mended(String),
    /// Cannot be tried here.
    Skipped(String),
}

impl Outcome {
    /// Of a verdict.
    pub fn of(verdict: Result<(), String>) -> Outcome {
        verdict.map_or_else(Outcome::Bad, |()| Outcome::Good)
    }

    /// Against the list of what is known not to work.
    pub fn against(self, known: Option<&str>) -> Outcome {
        match (self, known) {
            (Outcome::Bad(_), Some(why)) => Outcome::Pending(why.to_owned()),
            // What works now and then is not there yet.
            (Outcome::Good, Some(why)) if why.starts_with("sometimes ") => Outcome::Pending(why.to_owned()),
            (Outcome::Good, Some(why)) => Outcome::Mended(why.to_owned()),
            (other, _) => other,
        }
    }

    /// Whether the suite fails.
    pub fn fails(&self) -> bool {
        matches!(self, Outcome::Bad(_) | Outcome::Mended(_))
    }

    fn word(&self, deny: bool) -> &'static str {
        match self {
            Outcome::Good if deny => "refused",
            Outcome::Good => "works",
            Outcome::Bad(_) => "**broken**",
            Outcome::Pending(_) => "not yet",
            Outcome::Mended(_) => "**works, but is listed as pending**",
            Outcome::Skipped(_) => "skipped",
        }
    }
}

/// One case in one column.
#[derive(Debug, Clone)]
pub struct Line {
    /// The row's id.
    pub row: String,
    /// `allow` or `deny`.
    pub case: &'static str,
    /// Tier and user.
    pub column: String,
    /// How it ended.
    pub outcome: Outcome,
}

/// What is worth a line of its own: everything that is not good.
pub fn print(lines: &[Line]) {
    for line in lines {
        let Line {
            row,
            case,
            column,
            outcome,
        } = line;
        match outcome {
            Outcome::Good | Outcome::Pending(_) => {}
            Outcome::Bad(why) => println!("BROKEN  {row} {case} ({column}): {why}"),
            Outcome::Mended(why) => println!("MENDED  {row} {case} ({column}): take it off the list ({why})"),
            Outcome::Skipped(why) => println!("skipped: {row} {case} ({column}): {why}"),
        }
    }
    print!("{}", counts(lines));
}

fn counts(lines: &[Line]) -> String {
    let mut out = String::new();
    for column in lines.iter().map(|l| &l.column).collect::<BTreeSet<_>>() {
        let of = |good: fn(&Outcome) -> bool| {
            lines
                .iter()
                .filter(|l| l.column == *column && good(&l.outcome))
                .count()
        };
        let _ = writeln!(
            out,
            "- {column}: {} as they should be, {} not yet, {} broken, {} to take off the list, {} skipped",
            of(|o| *o == Outcome::Good),
            of(|o| matches!(o, Outcome::Pending(_))),
            of(|o| matches!(o, Outcome::Bad(_))),
            of(|o| matches!(o, Outcome::Mended(_))),
            of(|o| matches!(o, Outcome::Skipped(_))),
        );
    }
    out
}

/// The table for `docs/protocols.md`: one line for each row, one word where all columns agree.
pub fn markdown(lines: &[Line]) -> String {
    let columns: BTreeSet<&String> = lines.iter().map(|l| &l.column).collect();
    let mut rows: BTreeMap<&String, BTreeMap<&str, BTreeMap<&'static str, Vec<&String>>>> = BTreeMap::new();
    let mut reasons = BTreeSet::new();
    for line in lines {
        let word = line.outcome.word(line.case == "deny");
        let cell = rows.entry(&line.row).or_default().entry(line.case).or_default();
        cell.entry(word).or_default().push(&line.column);
        match &line.outcome {
            Outcome::Pending(why) => {
                reasons.insert(format!("- `{}` {}: not yet: {why}", line.row, line.case))
            }
            Outcome::Skipped(why) => reasons.insert(format!("- `{}` skipped: {why}", line.row)),
            _ => false,
        };
    }
    let mut out =
        "| client | protocol | what | rule | allowed | denied |\n|---|---|---|---|---|---|\n".to_owned();
    for (row, cells) in &rows {
        let parts: Vec<&str> = row.split('/').collect();
        let _ = write!(out, "| {} |", parts.join(" | "));
        for case in ["allow", "deny"] {
            let words = cells.get(case).map(|words| {
                let all = words.len() == 1;
                let each = words.iter().map(|(word, at)| match all {
                    true => (*word).to_owned(),
                    false => format!(
                        "{word} ({})",
                        at.iter().map(|c| c.as_str()).collect::<Vec<_>>().join("; ")
                    ),
                });
                each.collect::<Vec<_>>().join(", ")
            });
            let _ = write!(out, " {} |", words.unwrap_or_default());
        }
        out.push('\n');
    }
    let heads: Vec<&str> = columns.iter().map(|c| c.as_str()).collect();
    let _ = write!(out, "\nTried in: {}.\n\n{}\n", heads.join(" · "), counts(lines));
    reasons.iter().for_each(|r| out.push_str(&format!("{r}\n")));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(case: &'static str, column: &str, outcome: Outcome) -> Line {
        Line {
            row: "curl/h2/echo/host".into(),
            case,
            column: column.into(),
            outcome,
        }
    }

    #[test]
    fn what_is_not_as_it_should_be_stands_out() {
        let text = markdown(&[
            line("allow", "process, root", Outcome::Good),
            line("allow", "process, user", Outcome::Bad("why".into())),
            line("deny", "process, root", Outcome::Good),
        ]);
        let wanted =
            "| curl | h2 | echo | host | **broken** (process, user), works (process, root) | refused |";
        assert!(text.contains(wanted), "{text}");
    }

    #[test]
    fn the_list_changes_what_an_outcome_means() {
        assert!(Outcome::Bad("x".into()).fails() && !Outcome::Bad("x".into()).against(Some("why")).fails());
        assert!(Outcome::Good.against(Some("why")).fails() && !Outcome::Good.against(None).fails());
        assert!(!Outcome::Good.against(Some("sometimes so")).fails());
    }
}
