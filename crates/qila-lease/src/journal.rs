//! What is remembered of a run's leases outside the sandbox, for whoever finds the run crashed: one line per record, each with
//! a sum over it.
//!
//! Only the answer of a provider says how what it minted is taken back. So a first record, [`Record::Asking`], is durable before
//! anything is asked for, and the second, [`Record::Minted`], before the value is used. What lies between is known to be lost.
//!
//! The file holds secrets: mode 0600, in a directory of the run's that the agent never sees, removed with it.
use crate::hidden::Hidden;
use crate::revocation::Revocation;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Largest record in bytes.
pub const MAX_RECORD: usize = 64 * 1024;
/// Largest journal in bytes.
pub const MAX: usize = 8 << 20;

/// Characters of the sum in front of a record.
const SUM: usize = 16;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A provider is about to be asked.
    Asking {
        /// A number of its own.
        id: u64,
        /// The credential's name in the policy.
        credential: String,
    },
    /// It has minted something.
    Minted {
        /// The number that it was asked under.
        id: u64,
        /// How that is taken back; none where this provider cannot.
        revocation: Option<Revocation>,
    },
    /// It has minted nothing, or it was taken back.
    Over {
        /// The number that it was asked under.
        id: u64,
    },
    /// The newest refresh token of a credential: older ones are worth nothing any more.
    Refresh {
        /// The credential's name in the policy.
        credential: String,
        /// The token.
        token: Hidden,
    },
}

/// What is still to be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outstanding {
    /// The number that it was asked under.
    pub id: u64,
    /// The credential's name in the policy.
    pub credential: String,
    /// How; none if the provider was asked and its answer is not known, or if this provider cannot.
    pub revocation: Option<Revocation>,
    /// Whether the provider's answer is not known.
    pub unknown: bool,
}

/// A journal that cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Longer than [`MAX`], or a record longer than [`MAX_RECORD`].
    #[error("the journal of leases is too long")]
    Long,
    /// A line is not what was written.
    #[error("line {0} of the journal of leases is damaged")]
    Line(usize),
}

fn sum(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .take(SUM / 2)
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// A record as it is written: a line.
pub fn line(record: &Record) -> Result<Zeroizing<String>, Damaged> {
    let text = Zeroizing::new(serde_json::to_string(record).map_err(|_| Damaged::Long)?);
    if text.len() > MAX_RECORD {
        return Err(Damaged::Long);
    }
    Ok(Zeroizing::new(format!("{} {}\n", sum(&text), *text)))
}

/// What a journal has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Its records, in order.
    pub records: Vec<Record>,
    /// How many bytes they are. Whoever goes on with a journal cuts it to that first: what follows is a torn line.
    pub whole: usize,
}

/// Reads a journal. A last line without an end was being written when the run ended: what it was about had not begun.
pub fn read(bytes: &[u8]) -> Result<Read, Damaged> {
    if bytes.len() > MAX {
        return Err(Damaged::Long);
    }
    let (mut records, mut whole) = (Vec::new(), 0);
    for (at, text) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
        let Some(line) = text.strip_suffix(b"\n") else {
            break;
        };
        records.push(one(line).ok_or(Damaged::Line(at + 1))?);
        whole += text.len();
    }
    Ok(Read { records, whole })
}

fn one(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|t| t.len() <= SUM + 1 + MAX_RECORD)?;
    let (said, text) = text.split_once(' ')?;
    (said == sum(text)).then(|| serde_json::from_str(text).ok())?
}

/// What is still to be taken back, oldest first.
pub fn outstanding(records: &[Record]) -> Vec<Outstanding> {
    let mut open: BTreeMap<u64, Outstanding> = BTreeMap::new();
    for record in records {
        match record {
            Record::Asking { id, credential } => {
                let asked = Outstanding {
                    id: *id,
                    credential: credential.clone(),
                    revocation: None,
                    unknown: true,
                };
                open.insert(*id, asked);
            }
            Record::Minted { id, revocation } => {
                if let Some(asked) = open.get_mut(id) {
                    asked.unknown = false;
                    asked.revocation.clone_from(revocation);
                }
            }
            Record::Over { id } => drop(open.remove(id)),
            Record::Refresh { .. } => {}
        }
    }
    open.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(records: &[Record]) -> Vec<u8> {
        let lines = records.iter().map(|r| line(r).unwrap().as_bytes().to_vec());
        lines.collect::<Vec<_>>().concat()
    }

    fn asking(id: u64) -> Record {
        Record::Asking {
            id,
            credential: format!("key-{id}"),
        }
    }

    #[test]
    fn what_is_not_over_is_outstanding() {
        let minted = Record::Minted {
            id: 1,
            revocation: None,
        };
        let all = [asking(1), minted, asking(2), asking(3), Record::Over { id: 2 }];
        let read = read(&text(&all)).unwrap();
        assert_eq!(read.records, all);
        let open: Vec<(u64, bool)> = outstanding(&read.records)
            .iter()
            .map(|o| (o.id, o.unknown))
            .collect();
        assert_eq!(open, [(1, false), (3, true)]);
    }

    proptest! {
        #[test]
        fn a_journal_cut_anywhere_has_every_whole_line(ids in prop::collection::vec(0u64..9, 0..9), cut in any::<prop::sample::Index>()) {
            let all: Vec<Record> = ids.iter().map(|id| asking(*id)).collect();
            let bytes = text(&all);
            let cut = cut.index(bytes.len() + 1);
            let whole = bytes[..cut].iter().filter(|b| **b == b'\n').count();
            let kept = read(&bytes[..cut]).unwrap();
            prop_assert_eq!(&kept.records, &all[..whole]);
            // Cut to that, it can be gone on with.
            let more = [&bytes[..kept.whole], &text(&[asking(7)])].concat();
            prop_assert_eq!(read(&more).unwrap().records.len(), whole + 1);
        }

        #[test]
        fn a_changed_byte_is_found(id in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = text(&[asking(id), asking(1)]);
            // Without the last byte the line is a torn one.
            let at = at.index(bytes.len() - 1);
            bytes[at] ^= 1 << bit;
            prop_assert!(read(&bytes).is_err());
        }
    }
}
