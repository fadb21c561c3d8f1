//! Rows of the table, their verdicts, and how they are written down.
use crate::stats::Ratio;
use serde_json::{Value, json};

/// What a row must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// At most this much.
    AtMost(f64),
    /// At least this much.
    AtLeast(f64),
    /// Shown for comparison only.
    None,
}

/// What a row came to.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A figure, and the samples behind it.
    Measured(f64, Value),
    /// Why there is no figure.
    Skipped(String),
    /// What went wrong where Qila itself should have run: no skip, and never passed over.
    Failed(String),
}

/// Why something was not measured.
#[derive(Debug, Clone)]
pub enum Missing {
    /// It is not there: a peer that is not installed, a part that is not built yet.
    Absent(String),
    /// It is there and did not work.
    Broken(String),
}

/// What this program could not prepare by itself counts as broken.
impl From<String> for Missing {
    fn from(why: String) -> Missing {
        Missing::Broken(why)
    }
}

impl From<&str> for Missing {
    fn from(why: &str) -> Missing {
        Missing::Broken(why.to_owned())
    }
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is measured, against what.
    pub name: String,
    /// What it must reach.
    pub target: Target,
    /// Unit of target and figure: `×`, `MiB`, `/s`, `ms`.
    pub unit: &'static str,
    /// What it came to.
    pub outcome: Outcome,
    /// The same figure at the 95th percentile, where there are samples.
    pub tail: Option<f64>,
}

impl Row {
    /// A row with a figure.
    pub fn measured(
        name: impl Into<String>,
        target: Target,
        unit: &'static str,
        value: f64,
        detail: Value,
    ) -> Row {
        // A figure that is no number was not measured, whatever the arithmetic says.
        let outcome = if value.is_finite() {
            Outcome::Measured(value, detail)
        } else {
            Outcome::Skipped("no samples".to_owned())
        };
        Row {
            name: name.into(),
            target,
            unit,
            outcome,
            tail: None,
        }
    }

    /// The same row with its figure at the 95th percentile.
    pub fn with_tail(mut self, tail: f64) -> Row {
        self.tail = Some(tail).filter(|tail| tail.is_finite());
        self
    }

    /// A row of two programs measured in turn, divided.
    pub fn ratio(name: impl Into<String>, target: Target, ratio: &Ratio, detail: Value) -> Row {
        Row::measured(name, target, "×", ratio.of_medians, detail).with_tail(ratio.of_p95)
    }

    /// A row that has no figure, for this reason.
    pub fn without(name: impl Into<String>, target: Target, unit: &'static str, missing: Missing) -> Row {
        match missing {
            Missing::Absent(why) => Row::skipped(name, target, unit, why),
            Missing::Broken(why) => Row {
                outcome: Outcome::Failed(why),
                ..Row::skipped(name, target, unit, "")
            },
        }
    }

    /// A row without one.
    pub fn skipped(
        name: impl Into<String>,
        target: Target,
        unit: &'static str,
        why: impl Into<String>,
    ) -> Row {
        Row {
            name: name.into(),
            target,
            unit,
            outcome: Outcome::Skipped(why.into()),
            tail: None,
        }
    }

    /// `met`, `missed`, `skipped`, `failed`, or `for comparison`.
    pub fn verdict(&self) -> &'static str {
        match (&self.outcome, self.target) {
            (Outcome::Skipped(_), _) => "skipped",
            (Outcome::Failed(_), _) => "failed",
            (_, Target::None) => "for comparison",
            (Outcome::Measured(value, _), Target::AtMost(limit)) if *value <= limit => "met",
            (Outcome::Measured(value, _), Target::AtLeast(limit)) if *value >= limit => "met",
            _ => "missed",
        }
    }

    fn json(&self) -> Value {
        let (measured, detail, reason) = match &self.outcome {
            Outcome::Measured(value, detail) => (json!(value), detail.clone(), Value::Null),
            Outcome::Skipped(reason) | Outcome::Failed(reason) => (Value::Null, Value::Null, json!(reason)),
        };
        let target = match self.target {
            Target::AtMost(limit) => json!({"at_most": limit}),
            Target::AtLeast(limit) => json!({"at_least": limit}),
            Target::None => Value::Null,
        };
        json!({"name": self.name, "unit": self.unit, "target": target, "measured": measured, "p95": self.tail,
               "verdict": self.verdict(), "reason": reason, "detail": detail})
    }

    fn line(&self) -> String {
        let target = match self.target {
            Target::AtMost(limit) => format!("≤ {}", figure(limit, self.unit)),
            Target::AtLeast(limit) => format!("≥ {}", figure(limit, self.unit)),
            Target::None => "–".to_owned(),
        };
        let (measured, verdict) = match &self.outcome {
            Outcome::Measured(value, _) => (figure(*value, self.unit), self.verdict().to_owned()),
            Outcome::Skipped(reason) | Outcome::Failed(reason) => {
                let reason = reason.replace(['|', '\n'], " ");
                ("–".to_owned(), format!("{}: {reason}", self.verdict()))
            }
        };
        let tail = self.tail.map_or("–".to_owned(), |tail| figure(tail, self.unit));
        format!("| {} | {target} | {measured} | {tail} | {verdict} |", self.name)
    }
}

fn figure(value: f64, unit: &str) -> String {
    match unit {
        "/s" => format!("{value:.0} /s"),
        "×" if value < 0.1 => format!("{value:.3} ×"),
        "×" => format!("{value:.2} ×"),
        _ => format!("{value:.1} {unit}"),
    }
}

/// The whole table as Markdown.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = "| work | target | median | p95 | |\n|---|---|---|---|---|\n".to_owned();
    for row in rows {
        text.push_str(&row.line());
        text.push('\n');
    }
    text
}

/// The whole table as JSON, with the machine that it was measured on.
pub fn document(table: &str, runs: usize, rows: &[Row]) -> Value {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name);
    json!({
        "table": table,
        "runs": runs,
        "host": {
            "kernel": read("/proc/sys/kernel/osrelease"),
            "cpu": cpu,
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "load": read("/proc/loadavg"),
        },
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(target: Target, value: f64) -> &'static str {
        Row::measured("x", target, "×", value, Value::Null).verdict()
    }

    #[test]
    fn verdicts() {
        assert_eq!(verdict(Target::AtMost(1.0), 1.0), "met");
        assert_eq!(verdict(Target::AtMost(1.0), 1.01), "missed");
        assert_eq!(verdict(Target::AtLeast(0.9), 0.9), "met");
        assert_eq!(verdict(Target::AtLeast(0.9), 0.89), "missed");
        assert_eq!(verdict(Target::None, 3.0), "for comparison");
        assert_eq!(verdict(Target::AtMost(1.0), f64::NAN), "skipped");
    }

    #[test]
    fn a_miss_and_a_skip_are_visible_in_the_table() {
        let rows = [
            Row::measured("slow", Target::AtMost(1.0), "×", 2.0, Value::Null).with_tail(3.0),
            Row::skipped("absent", Target::AtMost(0.02), "×", "no dockerd"),
            Row::without("broken", Target::None, "×", Missing::Broken("exit 125".into())),
        ];
        let text = markdown(&rows);
        assert!(
            text.contains("| slow | ≤ 1.00 × | 2.00 × | 3.00 × | missed |"),
            "{text}"
        );
        assert!(
            text.contains("| absent | ≤ 0.020 × | – | – | skipped: no dockerd |"),
            "{text}"
        );
        assert!(
            text.contains("| broken | – | – | – | failed: exit 125 |"),
            "{text}"
        );
        assert_eq!(document("run", 1, &rows)["rows"][1]["reason"], "no dockerd");
    }
}
