//! Durable events and verification: what the evidence crate measures of itself.
use std::process::Command;

use serde_json::{Value, json};

use crate::report::{Missing, Row, Target};
use crate::scratch::Scratch;

/// (row, target, where its figure stands in the output of the evidence crate's `throughput`)
const ROWS: &[(&str, Target, &str)] = &[
    (
        "durable events, group commit, 8 threads with 1,000 open tickets",
        Target::AtLeast(50_000.0),
        "/durable_events_per_s/8_threads_1000_tickets",
    ),
    (
        "durable events, 64 threads that wait for each",
        Target::None,
        "/durable_events_per_s/64_threads_each_waiting",
    ),
    (
        "verification of the evidence",
        Target::AtLeast(500_000.0),
        "/verified_records_per_s",
    ),
];

/// Runs `throughput` once and reads its figures; the disk's own speed stands beside them.
pub fn rows(scratch: &Scratch) -> Vec<Row> {
    let found = throughput(scratch);
    let mut rows: Vec<Row> = ROWS
        .iter()
        .map(
            |(title, target, place)| match found.as_ref().map(|found| figure(found, place)) {
                Ok(Some(rate)) => Row::measured(
                    *title,
                    *target,
                    "/s",
                    rate,
                    json!({"output": found.as_ref().ok()}),
                ),
                Ok(None) => {
                    let missing = Missing::Broken(format!("`throughput` prints no {place}"));
                    Row::without(*title, *target, "/s", missing)
                }
                Err(missing) => Row::without(*title, *target, "/s", missing.clone()),
            },
        )
        .collect();
    // The peer is the disk: one write and one fdatasync for each event, which is what group commit saves.
    let title = "durable events, group commit ÷ one fdatasync for each";
    let both = found.as_ref().ok().and_then(|found| {
        let events = figure(found, "/durable_events_per_s/8_threads_1000_tickets")?;
        Some(events * figure(found, "/median_us/write_and_fdatasync_600_bytes")? / 1e6)
    });
    rows.push(match (both, &found) {
        (Some(ratio), _) => Row::measured(title, Target::None, "×", ratio, Value::Null),
        (None, Err(missing)) => Row::without(title, Target::None, "×", missing.clone()),
        (None, Ok(_)) => Row::without(
            title,
            Target::None,
            "×",
            "`throughput` prints no such figures".into(),
        ),
    });
    rows
}

fn throughput(scratch: &Scratch) -> Result<Value, Missing> {
    let program = std::env::var_os("QILA_BENCH_EVIDENCE").ok_or_else(|| {
        Missing::Absent("QILA_BENCH_EVIDENCE names no built example of the evidence crate".to_owned())
    })?;
    let output = Command::new(&program)
        .arg(&scratch.folder)
        .output()
        .map_err(|error| format!("cannot start `throughput`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`throughput` ended with {}", output.status).into());
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("`throughput` prints no JSON: {error}").into())
}

fn figure(found: &Value, place: &str) -> Option<f64> {
    found.pointer(place).and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_place() {
        let found = json!({"durable_events_per_s": {"8_threads_1000_tickets": 61_000}, "verified_records_per_s": 7e5});
        assert_eq!(figure(&found, ROWS[0].2), Some(61_000.0));
        assert_eq!(figure(&found, ROWS[1].2), None);
        assert_eq!(figure(&found, ROWS[2].2), Some(700_000.0));
    }
}
