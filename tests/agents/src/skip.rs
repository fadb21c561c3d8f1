//! Checks that this host cannot make: said aloud and counted, never passed in silence.
use std::io::Write;

/// A check that was skipped, with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip(pub String);

impl Skip {
    /// Skips for this reason.
    pub fn because(reason: impl Into<String>) -> Skip {
        Skip(reason.into())
    }

    /// Prints `skipped: CHECK: reason` past the test runner's capture, and adds the line to the file that
    /// `QILA_SKIPS` names, for whoever counts.
    ///
    /// With `QILA_NO_SKIPS` set a skip is a failure.
    pub fn report(&self, check: &str) {
        let line = format!("skipped: {check}: {}\n", self.0);
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(path) = std::env::var_os("QILA_SKIPS") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            file.and_then(|mut f| f.write_all(line.as_bytes()))
                .expect("QILA_SKIPS is writable");
        }
        assert!(std::env::var_os("QILA_NO_SKIPS").is_none(), "{}", line.trim_end());
    }
}
