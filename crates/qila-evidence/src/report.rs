//! What verification found.
use serde::Serialize;
use std::fmt;

/// Most findings and notices that are kept; more are counted.
pub const MOST: usize = 100;

/// Who remembers a checkpoint besides the log itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Witness {
    /// The file `head` beside the log.
    Head,
    /// The checkpoint that the verifier was given.
    Trusted,
}

/// Something that is wrong. Records are numbered from 0; offsets are bytes in the file `log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// Bytes of records were changed.
    Altered {
        /// The first of them.
        record: u64,
        /// How many.
        count: u64,
        /// Where the damage begins.
        offset: u64,
        /// How far it reaches.
        bytes: u64,
    },
    /// Bytes of a checkpoint were changed, or something was put between two records.
    Damaged {
        /// Records before it.
        record: u64,
        /// Where it begins.
        offset: u64,
        /// How far it reaches.
        bytes: u64,
    },
    /// Records are gone.
    Removed {
        /// The first of them.
        record: u64,
        /// How many.
        count: u64,
        /// Where they should be.
        offset: u64,
    },
    /// A record is not in its place.
    Reordered {
        /// Its number.
        record: u64,
        /// Where it is.
        offset: u64,
    },
    /// A record was put in that is none, or a second time.
    Inserted {
        /// The number it carries.
        record: u64,
        /// Where it is.
        offset: u64,
    },
    /// Well-formed records are not those that were signed.
    NotSigned {
        /// The first that may be wrong.
        record: u64,
        /// How many there are up to the checkpoint that contradicts them.
        count: u64,
        /// Where that checkpoint is.
        offset: u64,
    },
    /// A checkpoint is not what the log's key signed.
    BadCheckpoint {
        /// Records it claims.
        size: u64,
        /// Where it is.
        offset: u64,
        /// What is wrong.
        why: String,
    },
    /// A checkpoint was signed by another key.
    ForeignKey {
        /// Records it claims.
        size: u64,
        /// Where it is.
        offset: u64,
        /// Which keys.
        why: String,
    },
    /// Records at the end are gone: a signed checkpoint counts more.
    Truncated {
        /// The first that is gone.
        record: u64,
        /// How many the checkpoint counts.
        signed: u64,
        /// Who remembers it.
        witness: Witness,
    },
    /// The log is another one than that of a signed checkpoint.
    Rewritten {
        /// How many records the checkpoint counts.
        signed: u64,
        /// Who remembers it.
        witness: Witness,
    },
    /// A signed record says that records before it were removed from the end, found when the log was opened.
    TruncatedBefore {
        /// The record that says so: what was removed would stand from here on.
        record: u64,
        /// How many were removed.
        lost: u64,
    },
}

/// A record of the log about itself that a reader should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Noted {
    /// Its number.
    pub record: u64,
    /// What it says.
    pub what: String,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Records that were read.
    pub records: u64,
    /// Records, from the first on, that a signed checkpoint proves.
    pub proved: u64,
    /// Checkpoints that were read.
    pub checkpoints: u64,
    /// Length of the file.
    pub bytes: u64,
    /// The key that signatures were checked with, as a C2SP verifier key.
    pub key: String,
    /// The last checkpoint that proves the records before it.
    pub checkpoint: Option<String>,
    /// What is wrong, at most 100.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
    /// Gaps and recoveries that the log recorded itself, at most 100: signed, and not wrong.
    pub noted: Vec<Noted>,
    /// Bytes at the end of a commit that was never finished nor acknowledged; the next writer cuts them off.
    pub torn_tail: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn intact(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        if self.findings.len() < MOST {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }
}

fn records(first: u64, count: u64) -> String {
    match count {
        0 | 1 => format!("record {first}"),
        _ => format!("records {first} to {}", first.saturating_add(count - 1)),
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Witness::Head => "the signed checkpoint in `head`",
            Witness::Trusted => "the checkpoint given",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Altered {
                record,
                count,
                offset,
                bytes,
            } => {
                write!(
                    f,
                    "altered: {} (byte {offset}, {bytes} bytes)",
                    records(*record, *count)
                )
            }
            Finding::Damaged {
                record,
                offset,
                bytes,
            } => {
                write!(
                    f,
                    "damaged: a checkpoint or foreign bytes before record {record} (byte {offset}, {bytes} bytes)"
                )
            }
            Finding::Removed {
                record,
                count,
                offset,
            } => {
                write!(f, "removed: {} (byte {offset})", records(*record, *count))
            }
            Finding::Reordered { record, offset } => {
                write!(
                    f,
                    "reordered: record {record} is out of its place (byte {offset})"
                )
            }
            Finding::Inserted { record, offset } => {
                write!(f, "inserted: a second or foreign record {record} (byte {offset})")
            }
            Finding::NotSigned {
                record,
                count,
                offset,
            } => {
                let which = records(*record, *count);
                write!(
                    f,
                    "altered: {which} differ from what the checkpoint at byte {offset} signed"
                )
            }
            Finding::BadCheckpoint { size, offset, why } => {
                write!(f, "bad checkpoint over {size} records (byte {offset}): {why}")
            }
            Finding::ForeignKey { size, offset, why } => {
                write!(
                    f,
                    "foreign key: checkpoint over {size} records (byte {offset}): {why}"
                )
            }
            Finding::Truncated {
                record,
                signed,
                witness,
            } => {
                write!(
                    f,
                    "truncated: {} ({witness} counts {signed})",
                    records(*record, signed - record)
                )
            }
            Finding::Rewritten { signed, witness } => {
                write!(
                    f,
                    "rewritten: the first {signed} records are not those of {witness}"
                )
            }
            Finding::TruncatedBefore { record, lost } => {
                write!(
                    f,
                    "truncated: {} were removed before record {record} was written",
                    records(*record, *lost)
                )
            }
        }
    }
}
