//! Who starts the launcher.
use std::os::unix::fs::MetadataExt;

/// The unprivileged user of the matrix, when the harness runs as root.
pub const OTHER: u32 = 65533;

/// A column of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Root.
    Root,
    /// Anyone else.
    Unprivileged,
}

impl User {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            User::Root => "root",
            User::Unprivileged => "user",
        }
    }

    /// Its uid, given the harness's.
    pub fn uid(self, harness: u32) -> u32 {
        match self {
            User::Root => 0,
            User::Unprivileged if harness == 0 => OTHER,
            User::Unprivileged => harness,
        }
    }

    /// What is put before a command so that this user runs it.
    pub fn prefix(self, harness: u32) -> Vec<String> {
        if self.uid(harness) == harness {
            return Vec::new();
        }
        [
            "/usr/bin/setpriv",
            "--reuid",
            "65533",
            "--regid",
            "65533",
            "--clear-groups",
            "--inh-caps=-all",
            "--",
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

/// The uid of this process.
pub fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(u32::MAX, |m| m.uid())
}
