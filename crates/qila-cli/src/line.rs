//! One event as one line for a person: time, run, what, verdict, rule.
use crate::ps::harmless;
use qila_types::{Access, Bytes, Decision, Event, EventKind, Outcome, StopReason, Usage};

/// Width of an id.
const RUN: usize = 20;
/// Longest text of an agent's choosing on one line, in characters.
const LONGEST: usize = 400;

/// What is known of an event besides when it was and whose.
struct Said {
    what: &'static str,
    /// What it is about.
    about: String,
    /// `allowed`, `denied`, `stopped` and the like; empty where there is nothing to judge.
    verdict: String,
    /// The rule or clause; empty where none decided.
    rule: String,
}

fn said(what: &'static str, about: impl Into<String>, verdict: impl Into<String>, rule: &str) -> Said {
    Said {
        what,
        about: about.into(),
        verdict: verdict.into(),
        rule: rule.to_owned(),
    }
}

/// The line. Nothing in it moves a terminal's cursor.
pub(crate) fn line(event: &Event) -> String {
    let run = event.run.as_ref().map_or("-", |run| run.as_str());
    let said = of(&event.kind);
    let mut text = format!("{}  {run:RUN$}  {:9}", time(event.time_ms), said.what);
    for part in [said.verdict, said.about, said.rule] {
        if !part.is_empty() {
            text.push_str("  ");
            text.push_str(&harmless(&short(&part)));
        }
    }
    text.trim_end().to_owned()
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn of(kind: &EventKind) -> Said {
    match kind {
        EventKind::LogOpened { version } => {
            said("opened", format!("a new log, by version {version}"), "", "")
        }
        EventKind::LogRecovered { dropped_bytes } => {
            let what = format!("{dropped_bytes} bytes of an unfinished commit were cut off");
            said("recovered", what, "", "")
        }
        EventKind::Gap { lost, reason } => said("gap", format!("{lost} events lost: {reason}"), "LOST", ""),
        EventKind::Launch {
            tier,
            command,
            workspace,
            unenforced,
            ..
        } => {
            let mut about = command.join(" ");
            if let Some(workspace) = workspace {
                about = format!("{} in {workspace}", short(&about));
            }
            let without = match unenforced.as_slice() {
                [] => String::new(),
                clauses => format!("NOT ENFORCED: {}", clauses.join(", ")),
            };
            said("launch", about, tier.to_string(), &without)
        }
        EventKind::Started => said("started", "", "", ""),
        EventKind::Refused { clause, reason } => said("refused", reason, "refused", clause),
        EventKind::Decision(decision) => of_decision(decision),
        EventKind::LeaseCreated { credential } => said("lease", credential, "created", ""),
        EventKind::LeaseRevoked { credential } => said("lease", credential, "revoked", ""),
        EventKind::RevocationAsked { credentials, by_uid } => {
            let all = match credentials.as_slice() {
                [] => "all credentials".to_owned(),
                names => names.join(", "),
            };
            said("revoke", all, "asked", &format!("by user {by_uid}"))
        }
        EventKind::LeaseUnrevoked { credential, reason } => said("lease", credential, "NOT REVOKED", reason),
        EventKind::Limit {
            clause,
            limit,
            stopped,
        } => {
            let verdict = if *stopped { "stopped" } else { "reached" };
            said("limit", limit, verdict, clause)
        }
        EventKind::Exit { outcome, usage } => of_exit(outcome, usage),
        EventKind::Apply { paths, digest } => said(
            "apply",
            format!("{}, {digest}", counted(*paths, "change")),
            "",
            "",
        ),
        EventKind::Discard => said("discard", "", "", ""),
        EventKind::GatewayStarted { address, .. } => said("gateway", format!("on {address}"), "listens", ""),
        EventKind::GatewayEnded => said("gateway", "", "ended", ""),
        EventKind::ModelCall(call) => {
            let about = format!(
                "{} at {}: {} tokens in ({} cached), {} out",
                call.model, call.host, call.input, call.cached, call.output
            );
            let cost = call
                .micros
                .map_or("no known price".to_owned(), crate::budgets::dollars);
            let cost = if call.exact {
                cost
            } else {
                format!("{cost} at worst")
            };
            said("model", about, cost, "")
        }
        EventKind::PolicyChanged {
            by_uid,
            policy_digest,
        } => said(
            "policy",
            format!("changed by user {by_uid} to {policy_digest}"),
            "",
            "",
        ),
        EventKind::Claimed { tenant } => said("claimed", format!("by tenant {tenant}"), "", ""),
        EventKind::Kill { by_uid } => said("kill", format!("asked for by user {by_uid}"), "", ""),
        EventKind::Reclaimed { found } => said("reclaimed", found.join(", "), "", ""),
    }
}

fn of_decision(decision: &Decision) -> Said {
    let (what, about) = match &decision.access {
        Access::Dns { name, qtype } => ("dns", format!("{qtype} {name}")),
        Access::Connect { host, port } => ("connect", format!("{host}:{port}")),
        Access::Http {
            host,
            port,
            method,
            path,
        } => ("http", format!("{method} {host}:{port}{path}")),
    };
    let mut about = short(&about);
    if let Some(credential) = &decision.credential {
        about = format!("{about} with {credential}");
    }
    let (verdict, rule) = match (&decision.rule, decision.allowed) {
        (Some(rule), true) => ("allowed", rule.clone()),
        (None, true) => ("allowed", decision.reason.clone()),
        (Some(rule), false) => ("denied", format!("{rule}: {}", decision.reason)),
        (None, false) => ("denied", decision.reason.clone()),
    };
    said(what, about, verdict, &rule)
}

fn of_exit(outcome: &Outcome, usage: &Usage) -> Said {
    let verdict = match (outcome.code, outcome.signal) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => String::new(),
    };
    let rule = match &outcome.reason {
        StopReason::Finished => String::new(),
        StopReason::Limit { clause, limit } => format!("{clause} {limit}"),
        StopReason::Killed => "killed".into(),
        StopReason::FailedClosed { what } => format!("FAILED CLOSED: {what}"),
        StopReason::Orphaned => "ORPHANED: its supervisor vanished".into(),
    };
    let about = match outcome.reason {
        // Nobody was there to measure.
        StopReason::Orphaned | StopReason::FailedClosed { .. } => String::new(),
        _ => format!(
            "{:.1} s, {:.1} s cpu, {} peak, {} of output, {} allowed, {} denied",
            usage.wall_ms as f64 / 1000.0,
            usage.cpu_ms as f64 / 1000.0,
            mib(usage.peak_memory),
            Bytes(usage.output_bytes),
            usage.allowed,
            usage.denied
        ),
    };
    said("exit", about, verdict, &rule)
}

fn mib(bytes: u64) -> String {
    format!("{}MiB", bytes.div_ceil(1 << 20))
}

/// A Unix time in the form of RFC 3339, in UTC.
pub(crate) fn time(unix_ms: u64) -> String {
    let (seconds, ms) = (unix_ms / 1000, unix_ms % 1000);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (h, m, s) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, so that a leap day is a year's last day, in eras of 400 years of which all are alike.
    let shifted = days.saturating_add(719_468);
    let (era, in_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// So many of something, in words.
pub(crate) fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(time(ms), text);
        }
        assert!(!time(u64::MAX).is_empty());
    }

    #[test]
    fn what_an_agent_chose_moves_no_cursor() {
        let event = Event {
            time_ms: 1,
            run: None,
            kind: EventKind::Decision(Decision {
                access: Access::Dns {
                    name: "a\x1b[2J\n\u{9b}1m\u{202e}x".repeat(100),
                    qtype: "A".into(),
                },
                allowed: false,
                rule: None,
                credential: None,
                reason: "no rule\r".into(),
            }),
        };
        let line = line(&event);
        assert!(
            !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{line:?}"
        );
        assert!(line.contains("denied") && line.contains("no rule"), "{line}");
    }
}
