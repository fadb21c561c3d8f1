//! Durable events and verification: what the evidence crate measures of itself.
use std::process::Command;

use serde_json::{Value, json};

use crate::report::{Row, Target};

/// (row, target, words of the figure's name in the output of `rates`)
const ROWS: &[(&str, f64, &[&str])] = &[
    (
        "durable events, group commit",
        50_000.0,
        &["durable", "append", "event"],
    ),
    ("verification of the evidence", 500_000.0, &["verif"]),
];

/// Runs `rates` once and reads its figures.
pub fn rows() -> Vec<Row> {
    let found = rates();
    ROWS.iter()
        .map(|(title, limit, words)| {
            let target = Target::AtLeast(*limit);
            match found.as_ref().map(|text| figure(text, words)) {
                Ok(Some(rate)) => Row::measured(
                    *title,
                    target,
                    "/s",
                    rate,
                    json!({"output": found.as_deref().ok()}),
                ),
                Ok(None) => Row::skipped(*title, target, "/s", "`rates` prints no such figure"),
                Err(reason) => Row::skipped(*title, target, "/s", reason),
            }
        })
        .collect()
}

fn rates() -> Result<String, String> {
    let program =
        std::env::var_os("QILA_BENCH_RATES").ok_or("the evidence crate has no `rates` example yet")?;
    let output = Command::new(&program)
        .output()
        .map_err(|error| format!("cannot start `rates`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`rates` ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first figure whose name holds one of the words: from a JSON object on a line, or from `name: 1234 …`.
fn figure(text: &str, words: &[&str]) -> Option<f64> {
    let fits = |name: &str| words.iter().any(|word| name.to_lowercase().contains(word));
    for word in words {
        for line in text.lines() {
            if let Ok(Value::Object(object)) = serde_json::from_str(line) {
                let hit = object.iter().find(|(name, _)| name.to_lowercase().contains(word));
                if let Some(value) = hit.and_then(|(_, value)| value.as_f64()) {
                    return Some(value);
                }
            }
        }
    }
    text.lines().find_map(|line| {
        let (name, rest) = line.split_once(':')?;
        let number = rest.split_whitespace().next()?.replace([',', '_'], "");
        number.parse().ok().filter(|_| fits(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_json_and_from_text() {
        let json = "starting\n{\"durable_events_per_second\": 61000.5, \"verified_per_second\": 700000}";
        let text = "durable events: 61,000.5 per second\nverification: 700000 /s";
        for output in [json, text] {
            assert_eq!(figure(output, ROWS[0].2), Some(61_000.5), "{output}");
            assert_eq!(figure(output, ROWS[1].2), Some(700_000.0), "{output}");
        }
        assert_eq!(figure("nothing here", ROWS[0].2), None);
    }
}
