//! The hunt for leaks: thousands of exchanges inside, every byte of them searched outside.
use crate::secret::Search;
use crate::server::{POSITIONS, Record};
use crate::session::Session;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// No real value went to a host that its credential does not name, nor anywhere but where it is placed.
pub fn nothing_astray(search: &Search, records: &[Record]) -> Result<(), String> {
    for record in records {
        let (own, field) = match record.host.as_str() {
            "key.test" => ("QILA_MATRIX_KEY", "authorization"),
            "lies.test" => ("QILA_LIAR_KEY", "authorization"),
            "api.openai.com" => ("OPENAI_API_KEY", "authorization"),
            "api.anthropic.com" => ("ANTHROPIC_API_KEY", "authorization"),
            _ => ("", ""),
        };
        let at = format!(
            "{} {} {}",
            record.host,
            record.method,
            record.target.chars().take(80).collect::<String>()
        );
        let mut rest = record.clone();
        if let Some(position) = rest.headers.iter().position(|(n, _)| n == field) {
            let (_, value) = rest.headers.remove(position);
            let all = value.into_bytes();
            if search.find(&all).is_some_and(|name| name != own) {
                return Err(format!("another credential arrived at {at}"));
            }
        }
        if let Some(name) = search.find(&rest.bytes()) {
            return Err(format!(
                "the real value of {name} arrived where it is not placed: {at}"
            ));
        }
        if !own.is_empty() && record.target.starts_with("/denied") && search.finds(own, &record.bytes()) {
            return Err(format!("{own} arrived at a path that is denied: {at}"));
        }
    }
    Ok(())
}

/// Most exchanges of one run: a run has an end even on a busy machine.
const PART: usize = 2000;

/// A hunt of any length, in several runs.
pub fn in_parts(session: &Session, python: &str, count: usize, encodings: &[&str]) -> Result<(), String> {
    let mut left = count;
    while left > 0 {
        let now = left.min(PART);
        hunt(session, python, now, encodings)?;
        left -= now;
    }
    Ok(())
}

/// Runs `count` exchanges inside, the secret in these spellings, and searches all that came back.
fn hunt(session: &Session, python: &str, count: usize, encodings: &[&str]) -> Result<(), String> {
    let mut seed = [0u8; 4];
    getrandom::fill(&mut seed).map_err(|e| e.to_string())?;
    let fixed = std::env::var("QILA_HUNT_SEED").ok().and_then(|s| s.parse().ok());
    let seed = fixed.unwrap_or(u32::from_le_bytes(seed));
    let mut words = json!({
        "encodings": encodings, "positions": POSITIONS,
        "hosts": [["key.test", 443], ["rule.test", 443], ["rule.test", 80], ["other.test", 443], ["lies.test", 443]],
    });
    if session.unknown.is_empty() {
        words["hosts"]
            .as_array_mut()
            .unwrap()
            .push(json!(["headers.test", 443]));
    }
    let script = session.stage.path("in/hunt.py").display().to_string();
    let before = session.server.records().len();
    let argv = [
        python.to_owned(),
        script,
        seed.to_string(),
        count.to_string(),
        "4".into(),
        words.to_string(),
    ];
    let started = std::time::Instant::now();
    let done = session.run(&argv);
    let search = session.search();
    let fail = |what: String| Err(format!("seed {seed}: {what}"));
    let (mut seen, mut answered, mut finished) = (0usize, 0usize, false);
    let mut leaks: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for line in done.stdout.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or(Value::Null);
        finished |= value["finished"] == count;
        if value["n"].is_null() {
            continue;
        }
        seen += 1;
        for part in ["raw", "body"] {
            let bytes = BASE64_STANDARD
                .decode(value[part].as_str().unwrap_or_default())
                .unwrap_or_default();
            answered += usize::from(
                part == "raw" && (bytes.starts_with(b"HTTP/1.1 200") || bytes.starts_with(b":status: 200")),
            );
            if let Some(name) = search.find(&bytes) {
                let shown: String = String::from_utf8_lossy(&bytes).chars().take(300).collect();
                let what = value["what"].as_str().unwrap_or_default();
                let kind = what.rsplit_once(' ').map_or(what, |(kind, _)| kind);
                let found = leaks
                    .entry(format!("{name}, {kind}"))
                    .or_insert_with(|| (0, format!("{what}, {part}: {shown:?}")));
                found.0 += 1;
            }
        }
    }
    if let Some((_, example)) = leaks.values().next() {
        let kinds: Vec<String> = leaks
            .iter()
            .map(|(kind, (count, _))| format!("{kind} ({count})"))
            .collect();
        return fail(format!(
            "real values came back: {}; such as {example}",
            kinds.join("; ")
        ));
    }
    if let Some(name) = search.find(done.stderr.as_bytes()) {
        return fail(format!("{name} is in what qila says"));
    }
    let arrived = session.server.records();
    nothing_astray(&search, &arrived).or_else(fail)?;
    let real = format!("Bearer {}", session.keys[0].1);
    let placed = arrived
        .iter()
        .skip(before)
        .filter(|r| r.header("authorization") == Some(&real))
        .count();
    // A hunt in which nothing was said has found nothing.
    if !finished || seen != count || answered * 4 < count || placed * 5 < count {
        let end: String = done
            .stderr
            .chars()
            .rev()
            .take(400)
            .collect::<String>()
            .chars()
            .rev()
            .collect();
        return fail(format!(
            "only {seen} of {count} ran, {answered} were answered, {placed} with the real key: {end}"
        ));
    }
    println!(
        "hunt ({}): {seen} exchanges in {} s, {answered} answered, {placed} with the real key; none leaked (seed {seed})",
        session.wanted.tier,
        started.elapsed().as_secs()
    );
    Ok(())
}
