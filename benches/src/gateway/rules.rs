//! A decision among a thousand rules: what the authorizer measures of itself.
use std::process::Command;

use serde_json::json;

use crate::report::{Missing, Row, Target};

/// Runs the authorizer's own measure once and takes the slowest kind of access.
pub fn row() -> Row {
    let title = "a decision with 1,000 rules, slowest kind of access, p99";
    let target = Target::AtMost(50.0);
    match measured() {
        Ok((slowest, text)) => Row::measured(title, target, "µs", slowest, json!({"output": text})),
        Err(missing) => Row::without(title, target, "µs", missing),
    }
}

fn measured() -> Result<(f64, String), Missing> {
    let program = std::env::var_os("QILA_BENCH_DECIDE")
        .ok_or_else(|| Missing::Absent("the authorizer has no `decide` example here".to_owned()))?;
    let output = Command::new(program)
        .output()
        .map_err(|error| format!("`decide`: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(format!("`decide` ended with {}", output.status).into());
    }
    let slowest = slowest(&text).ok_or("`decide` prints no figures")?;
    Ok((slowest, text))
}

/// The largest of the last column, in which the 99th percentiles stand.
fn slowest(text: &str) -> Option<f64> {
    let last = |line: &str| line.split_whitespace().next_back()?.parse::<f64>().ok();
    text.lines().filter_map(last).reduce(f64::max)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_slowest_counts() {
        let text =
            "access   first µs  p50 µs  p99 µs\nlook-up  20.0  1.0  3.5\nrequest, large   90.1  10.0  41.5\n";
        assert_eq!(super::slowest(text), Some(41.5));
        assert_eq!(super::slowest("nothing"), None);
    }
}
