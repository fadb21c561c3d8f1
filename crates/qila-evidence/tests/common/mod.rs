//! What every test of the log needs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
#![allow(dead_code, reason = "each test file uses its part")]
use qila_evidence::{Entry, Log, Reader, Report, verify};
use qila_types::{Access, Decision, Event, EventKind, RunId};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A directory for a log, removed afterwards.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Place { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.file("log")).unwrap()
    }

    /// A copy to be tampered with.
    pub fn copy(&self) -> Place {
        let copy = Place::new();
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.file(entry.file_name().to_str().unwrap())).unwrap();
        }
        copy
    }

    pub fn open(&self) -> Log {
        Log::open(fd(self.path()).as_fd()).unwrap()
    }

    pub fn verify(&self) -> Report {
        verify(fd(self.path()).as_fd(), None, None).unwrap()
    }

    pub fn entries(&self) -> Vec<Entry> {
        Reader::open(fd(self.path()).as_fd())
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    pub fn kinds(&self) -> Vec<EventKind> {
        self.entries().iter().map(|e| e.event().unwrap().kind).collect()
    }
}

pub fn fd(path: &Path) -> File {
    File::open(path).unwrap()
}

pub fn run(n: u64) -> RunId {
    RunId::from_parts(1_795_000_000_000, n)
}

/// An event that can be told from the others.
pub fn event(n: u64) -> Event {
    let access = Access::Connect {
        host: format!("host-{n}.example.org"),
        port: 443,
    };
    let decision = Decision {
        access,
        allowed: n.is_multiple_of(2),
        rule: None,
        credential: None,
        reason: format!("event {n}"),
    };
    Event {
        time_ms: 1_795_000_000_000 + n,
        run: Some(run(n % 3)),
        kind: EventKind::Decision(decision),
    }
}

/// The numbers of the events of [`event`] in a log, in its order.
pub fn numbers(place: &Place) -> Vec<u64> {
    let number = |kind| match kind {
        EventKind::Decision(d) => d.reason.strip_prefix("event ").and_then(|n| n.parse().ok()),
        _ => None,
    };
    place.kinds().into_iter().filter_map(number).collect()
}

/// Where the frames of a log are: kind, offset, length.
pub fn frames(bytes: &[u8]) -> Vec<(u8, usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 24 <= bytes.len() {
        assert_eq!(bytes[at], 0xFE, "at {at}");
        let length = 24 + u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap()) as usize;
        found.push((bytes[at + 1], at, length));
        at += length;
    }
    assert_eq!(at, bytes.len());
    found
}
