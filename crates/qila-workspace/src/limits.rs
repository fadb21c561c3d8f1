//! How much of a hostile layer is looked at.

/// Bounds on what is read from a layer; reaching one is an error or a skipped entry, never silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the upper directory, and of the lower directory where something was removed. Beyond: an error.
    pub entries: usize,
    /// Directories inside one another. Deeper entries are skipped as [`crate::SkipReason::TooDeep`].
    pub depth: usize,
    /// Bytes of one path relative to the workspace. Longer: skipped.
    pub path: usize,
    /// Apparent size of one file. Larger (a sparse file of 100 GiB, say): skipped as too large.
    pub file: u64,
    /// Bytes of a file that a diff compares line by line. Larger: summarised.
    pub diff_file: u64,
    /// Bytes that one diff writes. Beyond: the remaining files are counted and not shown.
    pub diff_output: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 500_000,
            depth: 128,
            path: 4095,
            file: 16 << 30,
            diff_file: 1 << 20,
            diff_output: 64 << 20,
        }
    }
}
