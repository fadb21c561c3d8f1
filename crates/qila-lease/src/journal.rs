//! What is remembered of a run's leases outside the sandbox, for whoever finds the run crashed: one line per record, each with
//! a sum over it.
//!
//! Only the answer of a provider says how what it minted is taken back. So a first record, [`Record::Asking`], is durable before
//! anything is asked for, and the second, [`Record::Minted`], before the value is used. What lies between is known to be lost.
//!
//! The file holds secrets: mode 0600, in a directory that the agent never sees, removed once nothing is left to be taken back.
use crate::revocation::Revocation;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
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
    /// How providers are reached, as the operator said it at the launch: what is found crashed is taken back the same way.
    Ways {
        /// `--upstream`, each as it was written.
        upstreams: Vec<String>,
        /// Files of further certificate authorities.
        authorities: Vec<String>,
    },
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
        /// When it ends by itself, in Unix seconds; where the provider does not say, when it is given up.
        until: u64,
    },
    /// It has minted nothing, or it was taken back, or it has ended by itself.
    Over {
        /// The number that it was asked under.
        id: u64,
    },
    /// The gateway is gone: nobody was told of what follows.
    Alone,
    /// All that was left was tried once more, and some of it is left still.
    Tried {
        /// When, in Unix seconds.
        at: u64,
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
    /// When it ends by itself, in Unix seconds; none if the provider's answer is not known.
    pub until: Option<u64>,
}

/// What a journal says in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What is still to be taken back, oldest first.
    pub open: Vec<Outstanding>,
    /// Credentials of which something was taken back that nobody was told of, once for each time.
    pub unsaid: Vec<String>,
    /// All credentials that are named.
    pub credentials: BTreeSet<String>,
    /// When it was last tried to take the rest back, in Unix seconds.
    pub tried: Option<u64>,
    /// `--upstream`, each as it was written.
    pub upstreams: Vec<String>,
    /// Files of further certificate authorities.
    pub authorities: Vec<String>,
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

/// What the records say in all.
pub fn state(records: &[Record]) -> State {
    let mut state = State::default();
    let mut open: BTreeMap<u64, Outstanding> = BTreeMap::new();
    let mut alone = false;
    for record in records {
        match record {
            Record::Ways {
                upstreams,
                authorities,
            } => {
                state.upstreams.clone_from(upstreams);
                state.authorities.clone_from(authorities);
            }
            Record::Asking { id, credential } => {
                state.credentials.insert(credential.clone());
                let asked = Outstanding {
                    id: *id,
                    credential: credential.clone(),
                    revocation: None,
                    until: None,
                };
                open.insert(*id, asked);
            }
            Record::Minted {
                id,
                revocation,
                until,
            } => {
                if let Some(asked) = open.get_mut(id) {
                    asked.until = Some(*until);
                    asked.revocation.clone_from(revocation);
                }
            }
            Record::Over { id } => {
                let over = open.remove(id).filter(|o| alone && o.until.is_some());
                state.unsaid.extend(over.map(|o| o.credential));
            }
            Record::Alone => alone = true,
            Record::Tried { at } => {
                state.tried = Some(*at);
                // Whoever tried has said what became of it.
                (alone, state.unsaid) = (false, Vec::new());
            }
        }
    }
    state.open = open.into_values().collect();
    state
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
        let minted = |id| Record::Minted {
            id,
            revocation: None,
            until: 9,
        };
        let mut all = vec![asking(1), minted(1), asking(2), asking(3), Record::Over { id: 2 }];
        let read = read(&text(&all)).unwrap();
        assert_eq!(read.records, all);
        let open = |records: &[Record]| -> Vec<(u64, Option<u64>)> {
            let state = state(records);
            state.open.iter().map(|o| (o.id, o.until)).collect()
        };
        assert_eq!(open(&all), [(1, Some(9)), (3, None)]);
        assert_eq!(state(&all).unsaid, Vec::<String>::new());
        // What the keeper takes back alone is for the next one to tell, once.
        all.extend([Record::Alone, Record::Over { id: 1 }, Record::Over { id: 3 }]);
        assert_eq!(
            (open(&all), state(&all).unsaid),
            (vec![], vec!["key-1".to_owned()])
        );
        all.push(Record::Tried { at: 5 });
        assert_eq!((state(&all).unsaid, state(&all).tried), (vec![], Some(5)));
        assert_eq!(state(&all).credentials.len(), 3);
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
