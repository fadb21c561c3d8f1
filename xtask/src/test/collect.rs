//! Counting what test programs print: libtest's own lines, a plain closing line, and `skipped: …`.
use std::collections::BTreeSet;
use std::fmt;

/// How many checks passed, failed and were skipped, with the reasons of the skips.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Checks that passed.
    pub passed: usize,
    /// Checks that failed.
    pub failed: usize,
    /// Checks that were skipped.
    pub skipped: usize,
    /// Why, one line a skip.
    pub reasons: Vec<String>,
    /// Which programs failed.
    pub failures: Vec<String>,
}

impl Tally {
    /// Counts one skip.
    pub fn skip(&mut self, reason: &str) {
        self.skipped += 1;
        self.reasons.push(reason.to_owned());
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.reasons.extend(other.reasons);
        self.failures.extend(other.failures);
    }

    /// The closing line.
    pub fn counts(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.reasons {
            writeln!(out, "skipped: {reason}")?;
        }
        for failure in &self.failures {
            writeln!(out, "failed: {failure}")?;
        }
        writeln!(out, "{}", self.counts())
    }
}

/// Reads one test program's output line by line.
#[derive(Debug)]
pub struct Collector {
    title: String,
    tally: Tally,
    /// The test whose kept output is being read, for programs run with `--show-output`.
    section: Option<String>,
    /// Tests that skipped at least one check: those are not counted as passed.
    partial: BTreeSet<String>,
    /// Skips that stand in no test's section.
    loose: usize,
    /// A result line was seen; a program that dies before one has failed.
    closed: bool,
}

impl Collector {
    /// Starts on a program of that name.
    pub fn new(title: &str) -> Collector {
        Collector {
            title: title.to_owned(),
            tally: Tally::default(),
            section: None,
            partial: BTreeSet::new(),
            loose: 0,
            closed: false,
        }
    }

    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        if let Some(name) = section(line) {
            self.section = Some(name.to_owned());
        } else if let Some(reason) = line.trim_start().strip_prefix("skipped: ") {
            self.tally.skip(&format!("{}: {}", self.title, reason.trim()));
            match &self.section {
                Some(name) => drop(self.partial.insert(name.clone())),
                None => self.loose += 1,
            }
        } else if let Some((name, reason)) = ignored(line) {
            self.tally.skip(&format!("{}: {name}: {reason}", self.title));
        } else if let Some((passed, failed)) = libtest(line) {
            self.closed = true;
            self.tally.passed += passed;
            self.tally.failed += failed;
            // A section ends with the results; a doctest run prints several.
            self.section = None;
        } else if let Some((passed, failed, skipped)) = plain(line) {
            self.closed = true;
            self.tally.passed += passed;
            self.tally.failed += failed;
            // The program gave a reason for each skip, or it did not: both are shown.
            for _ in self.loose..skipped {
                self.tally.skip(&format!("{}: no reason given", self.title));
            }
            self.loose = 0;
        }
    }

    /// Ends with how the program ended.
    pub fn finish(mut self, success: bool, timed_out: bool) -> Tally {
        self.tally.passed = self.tally.passed.saturating_sub(self.partial.len());
        if timed_out {
            self.fail("ran past its time limit");
        } else if !success && self.tally.failed == 0 {
            self.fail("ended with a failure that it did not report");
        } else if success && !self.closed {
            self.fail("ended without saying how many checks passed");
        } else if self.tally.failed > 0 {
            self.tally.failures.push(self.title.clone());
        }
        self.tally
    }

    fn fail(&mut self, why: &str) {
        self.tally.failed += 1;
        self.tally.failures.push(format!("{}: {why}", self.title));
    }
}

/// `---- NAME stdout ----`
fn section(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// `test NAME ... ignored, REASON`
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let rest = outcome.strip_prefix("ignored")?;
    Some((
        name,
        rest.strip_prefix(", ").unwrap_or("ignored without a reason"),
    ))
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
fn libtest(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    Some((number(counts, " passed")?, number(counts, " failed")?))
}

fn number(counts: &str, unit: &str) -> Option<usize> {
    counts
        .split("; ")
        .find_map(|part| part.strip_suffix(unit)?.trim().parse().ok())
}

/// `3 passed, 0 failed, 1 skipped`, alone on a line.
fn plain(line: &str) -> Option<(usize, usize, usize)> {
    let mut parts = line.split(", ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    let skipped = parts.next()?.strip_suffix(" skipped")?.parse().ok()?;
    parts.next().is_none().then_some((passed, failed, skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str, success: bool) -> Tally {
        let mut collector = Collector::new("x");
        text.lines().for_each(|line| collector.line(line));
        collector.finish(success, false)
    }

    const OK: &str = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";

    #[test]
    fn a_skip_is_not_a_pass() {
        let text = format!("---- a::b stdout ----\nskipped: no cgroup v2\n\n\nsuccesses:\n{OK}");
        let got = tally(&text, true);
        assert_eq!((got.passed, got.failed, got.skipped), (4, 0, 1));
        assert_eq!(got.reasons, ["x: no cgroup v2"]);
    }

    #[test]
    fn two_skips_in_one_test_take_one_pass() {
        let text = format!("---- a stdout ----\nskipped: one\n  skipped: two\n{OK}");
        let got = tally(&text, true);
        assert_eq!((got.passed, got.skipped), (4, 2));
    }

    #[test]
    fn ignored_tests_are_skips_with_their_reason() {
        let got = tally(
            &format!("test a ... ignored, needs KVM\ntest b ... ignored\n{OK}"),
            true,
        );
        assert_eq!((got.passed, got.skipped), (5, 2));
        assert_eq!(got.reasons, ["x: a: needs KVM", "x: b: ignored without a reason"]);
    }

    #[test]
    fn the_plain_closing_line_counts_and_unexplained_skips_show() {
        let got = tally("skipped: no vsock\n7 passed, 0 failed, 2 skipped", true);
        assert_eq!((got.passed, got.failed, got.skipped), (7, 0, 2));
        assert_eq!(got.reasons, ["x: no vsock", "x: no reason given"]);
    }

    #[test]
    fn prose_that_looks_similar_is_not_counted() {
        for line in [
            "note: 7 passed, 0 failed, 2 skipped",
            "7 passed, 0 failed",
            "7 passed, 0 failed, 2 skipped, 1 odd",
        ] {
            assert_eq!(plain(line), None, "{line}");
        }
    }

    #[test]
    fn a_program_that_dies_has_failed() {
        assert_eq!(tally("test a ... ok", false).failed, 1);
        assert_eq!(tally("", true).failed, 1);
        let reported = tally(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured",
            false,
        );
        assert_eq!((reported.passed, reported.failed), (1, 2));
        let mut hung = Collector::new("x");
        hung.line(OK);
        assert_eq!(hung.finish(false, true).failed, 1);
    }

    #[test]
    fn the_report_ends_with_the_closing_line_alone() {
        let mut total = Tally {
            passed: 3,
            ..Tally::default()
        };
        total.skip("a: because");
        assert_eq!(
            total.to_string(),
            "skipped: a: because\n3 passed, 0 failed, 1 skipped\n"
        );
        assert_eq!(plain(total.to_string().lines().last().unwrap()), Some((3, 0, 1)));
    }
}
