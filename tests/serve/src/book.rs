//! What a client was promised: everything that was acknowledged, and what may have been done or not.
use std::collections::{BTreeMap, BTreeSet};

/// A program that ran when the daemon was killed, or might have.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Its name.
    pub tag: String,
    /// What it says in all.
    pub expected: String,
    /// Its exit code.
    pub code: i64,
    /// What has been heard of it.
    pub heard: String,
    /// Where the hearing broke off.
    pub at: u64,
    /// Whether it was acknowledged that it started.
    pub started: bool,
}

/// A sandbox as its client knows it.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Files, each with the contents that it may have: more than one where a write was not acknowledged. None: it is not there.
    pub files: BTreeMap<String, Vec<Option<Vec<u8>>>>,
    /// Whether it stands still; none: it was being changed.
    pub paused: Option<bool>,
    /// What runs in it.
    pub program: Option<Program>,
    /// Whether its end was asked for and not acknowledged.
    pub ending: bool,
}

/// A sandbox that was asked for, without an answer.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The request's idempotency key, which is in the sandbox's metadata too.
    pub key: String,
    /// Where it was sent to.
    pub path: String,
    /// What it will have.
    pub kept: Kept,
}

/// All that one client was promised.
#[derive(Debug, Default)]
pub struct Book {
    /// Sandboxes that it has.
    pub sandboxes: BTreeMap<String, Kept>,
    /// Sandboxes whose end was acknowledged.
    pub ended: BTreeSet<String>,
    /// Sandboxes that were ever acknowledged.
    pub ever: BTreeSet<String>,
    /// Requests for sandboxes without an answer.
    pub wishes: Vec<Wish>,
    /// What was not as promised.
    pub wrong: Vec<String>,
    /// Acknowledged operations, by name.
    pub done: BTreeMap<&'static str, u64>,
    /// Those that had no answer.
    pub open: BTreeMap<&'static str, u64>,
}

impl Book {
    /// Something is not as it was promised.
    pub fn wrong(&mut self, what: String) {
        crate::tell(&format!("WRONG: {what}"));
        self.wrong.push(what);
    }

    /// An operation was acknowledged.
    pub fn did(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    /// An operation had no answer.
    pub fn broke(&mut self, what: &'static str) {
        *self.open.entry(what).or_default() += 1;
    }

    /// Ids of sandboxes in which something can be done.
    pub fn usable(&self) -> Vec<String> {
        let free = |k: &Kept| k.paused == Some(false) && !k.ending && k.program.is_none();
        let all = self.sandboxes.iter().filter(|(_, k)| free(k));
        all.map(|(id, _)| id.clone()).collect()
    }
}
