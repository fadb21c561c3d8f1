//! The judgement of a log, frame by frame.
use crate::frame::{Frame, Kind};
use crate::leaf;
use crate::merkle::Frontier;
use crate::note::{Checkpoint, NoteError, VerifierKey};
use crate::report::{Finding, MOST, Noted, Report, Witness};
use crate::settle::TRUNCATED;
use crate::signatures::{self, Pending};
use qila_types::EventKind;

/// Judges frames in the order of the file.
pub struct Checker<'k> {
    key: &'k VerifierKey,
    report: Report,
    /// Number of the record that should come next.
    next: u64,
    /// The tree so far; none once a record is missing or wrong, from where on nothing can be proved.
    tree: Option<Frontier>,
    /// End of the last frame that was a good checkpoint.
    good_end: u64,
    /// Largest size that a signature in the log vouches for.
    signed: u64,
    /// Largest size whose root the tree gave.
    agreed: u64,
    /// Largest size that a witness vouches for, and where its last record ends.
    vouched: (u64, u64),
    pending: Vec<Pending>,
    damage: Option<(u64, u64)>,
    /// Records reported as removed, as half-open ranges: one that turns up later was moved.
    missing: Vec<(u64, u64)>,
    watched: Vec<(Witness, Checkpoint)>,
}

impl<'k> Checker<'k> {
    /// A judgement with this key.
    pub fn new(key: &'k VerifierKey) -> Checker<'k> {
        Checker {
            key,
            report: Report {
                key: key.to_string(),
                ..Report::default()
            },
            next: 0,
            tree: Some(Frontier::default()),
            good_end: 0,
            signed: 0,
            agreed: 0,
            vouched: (0, 0),
            pending: Vec::new(),
            damage: None,
            missing: Vec::new(),
            watched: Vec::new(),
        }
    }

    /// Compares with a checkpoint that is known from elsewhere.
    pub fn watch(&mut self, witness: Witness, checkpoint: Option<Checkpoint>) {
        self.watched
            .extend(checkpoint.map(|checkpoint| (witness, checkpoint)));
        self.compare(0);
    }

    fn compare(&mut self, end: u64) {
        let Some(tree) = &self.tree else { return };
        for (witness, checkpoint) in &self.watched {
            if checkpoint.size != tree.size() {
                continue;
            }
            if checkpoint.root == tree.root() {
                self.vouched = (checkpoint.size, end);
            } else {
                self.report.add(Finding::Rewritten {
                    signed: checkpoint.size,
                    witness: *witness,
                });
            }
        }
    }

    /// Bytes that are no frame. Certain if more frames follow, or if they have the shape of a whole one;
    /// otherwise they may be a torn tail.
    pub fn damage(&mut self, offset: u64, bytes: u64, certain: bool) {
        if certain {
            self.damage = Some((offset, bytes));
        }
    }

    /// The next whole frame.
    pub fn frame(&mut self, at: u64, frame: &Frame<'_>) {
        if let Some((offset, bytes)) = self.damage.take() {
            if frame.index > self.next {
                let (record, count) = (self.next, frame.index - self.next);
                self.report.add(Finding::Altered {
                    record,
                    count,
                    offset,
                    bytes,
                });
                self.tree = None;
                self.next = frame.index;
            } else {
                self.report.add(Finding::Damaged {
                    record: self.next,
                    offset,
                    bytes,
                });
            }
        }
        match frame.kind {
            Kind::Record => self.record(at, frame),
            Kind::Checkpoint => self.checkpoint(at, frame),
        }
    }

    fn record(&mut self, at: u64, frame: &Frame<'_>) {
        self.report.records += 1;
        if frame.index < self.next {
            let found = self
                .missing
                .iter()
                .position(|(a, b)| (*a..*b).contains(&frame.index));
            let finding = match found.map(|i| self.missing.swap_remove(i)) {
                Some((from, to)) => {
                    self.missing.extend(
                        [(from, frame.index), (frame.index + 1, to)]
                            .iter()
                            .filter(|(a, b)| a < b),
                    );
                    Finding::Reordered {
                        record: frame.index,
                        offset: at,
                    }
                }
                None => Finding::Inserted {
                    record: frame.index,
                    offset: at,
                },
            };
            self.report.add(finding);
            return;
        }
        self.skip_to(at, frame.index);
        self.next = frame.index.saturating_add(1);
        if let Some(tree) = &mut self.tree {
            tree.push(frame.leaf);
            let size = tree.size();
            if self.watched.iter().any(|(_, c)| c.size == size) {
                self.compare(at + frame.length() as u64);
            }
        }
        if speaks_of_the_log(frame.payload) {
            self.note(frame);
        }
    }

    /// Notes that records are missing before this one.
    fn skip_to(&mut self, at: u64, index: u64) {
        if index > self.next {
            if self.missing.len() < MOST {
                self.missing.push((self.next, index));
            }
            self.report.add(Finding::Removed {
                record: self.next,
                count: index - self.next,
                offset: at,
            });
            self.tree = None;
            self.next = index;
        }
    }

    fn note(&mut self, frame: &Frame<'_>) {
        let what = match leaf::decode(frame.payload).map(|event| event.kind) {
            Some(EventKind::Gap { lost, reason }) if reason.starts_with(TRUNCATED) => {
                self.report.add(Finding::TruncatedBefore {
                    record: frame.index,
                    lost,
                });
                return;
            }
            Some(EventKind::Gap { lost, reason }) => format!("gap of {lost} events: {reason}"),
            Some(EventKind::LogRecovered { dropped_bytes }) => {
                format!("recovered from a crash: {dropped_bytes} bytes of an unfinished commit cut off")
            }
            _ => return,
        };
        if self.report.noted.len() < MOST {
            self.report.noted.push(Noted {
                record: frame.index,
                what,
            });
        }
    }

    fn checkpoint(&mut self, at: u64, frame: &Frame<'_>) {
        self.report.checkpoints += 1;
        let size = frame.index;
        let note = std::str::from_utf8(frame.payload).unwrap_or_default();
        let bad = |why: String| Finding::BadCheckpoint {
            size,
            offset: at,
            why,
        };
        let read = match self.key.read(note) {
            Ok(read) if read.checkpoint.size == size => read,
            Ok(_) => {
                return self
                    .report
                    .add(bad("its frame carries another number".to_owned()));
            }
            Err(e @ NoteError::WrongKey { .. }) => {
                return self.report.add(Finding::ForeignKey {
                    size,
                    offset: at,
                    why: e.to_string(),
                });
            }
            Err(e) => return self.report.add(bad(e.to_string())),
        };
        if size < self.next {
            return self.report.add(bad(format!(
                "it is out of its place, after {} records",
                self.next
            )));
        }
        let tree = self.tree.as_ref().filter(|tree| tree.size() == size);
        let agrees = tree.is_some_and(|tree| tree.root() == read.checkpoint.root);
        // Only a right signature may contradict the records.
        if !agrees && let Err(e) = self.key.check(note, &read) {
            return self.report.add(bad(e.to_string()));
        }
        if agrees {
            self.agreed = size;
        } else if tree.is_some() {
            let (record, count) = (self.agreed, size - self.agreed);
            self.report.add(Finding::NotSigned {
                record,
                count,
                offset: at,
            });
            self.tree = None;
        }
        self.skip_to(at, size);
        let end = at + frame.length() as u64;
        self.pending.push(Pending {
            note: note.to_owned(),
            read,
            size,
            at,
            end,
            agrees,
        });
        if self.pending.len() >= signatures::MOST {
            self.check_signatures();
        }
    }

    fn check_signatures(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for (right, p) in signatures::check(self.key, &pending).into_iter().zip(pending) {
            if !right {
                let why = NoteError::BadSignature.to_string();
                self.report.add(Finding::BadCheckpoint {
                    size: p.size,
                    offset: p.at,
                    why,
                });
                continue;
            }
            (self.signed, self.good_end) = (p.size, p.end);
            if p.agrees {
                self.report.proved = p.size;
                self.report.checkpoint = Some(p.note);
            }
        }
    }

    /// The report, for a file of this length.
    pub fn finish(mut self, length: u64) -> Report {
        self.check_signatures();
        if let Some((offset, bytes)) = self.damage.take() {
            self.report.add(Finding::Damaged {
                record: self.next,
                offset,
                bytes,
            });
        }
        for (witness, checkpoint) in &self.watched {
            let (vouched, offset) = self.vouched;
            if checkpoint.size > self.signed && checkpoint.size <= vouched {
                // The records are there; the checkpoint over them is not, or not whole.
                self.report.proved = self.report.proved.max(vouched);
                let known = |f: &Finding| matches!(f, Finding::Damaged { record, .. } if *record == vouched);
                if !self.report.findings.iter().any(known) {
                    let bytes = length.saturating_sub(offset);
                    self.report.add(Finding::Damaged {
                        record: vouched,
                        offset,
                        bytes,
                    });
                }
            } else if checkpoint.size > self.signed {
                let (record, signed) = (self.signed, checkpoint.size);
                self.report.add(Finding::Truncated {
                    record,
                    signed,
                    witness: *witness,
                });
            }
        }
        self.report.bytes = length;
        self.report.torn_tail = if self.report.intact() {
            length - self.good_end.min(length)
        } else {
            0
        };
        // A record that turned up elsewhere was moved, not removed.
        let missing = self.missing;
        self.report.findings.retain(|finding| match finding {
            Finding::Removed { record, count, .. } => {
                let end = record.saturating_add(*count);
                missing.len() >= MOST || missing.iter().any(|(a, b)| a < &end && record < b)
            }
            _ => true,
        });
        self.report
    }
}

/// Whether a record is about the log itself, by its first bytes: JSON is not parsed for the others.
fn speaks_of_the_log(json: &[u8]) -> bool {
    let Some(rest) = json.strip_prefix(b"{\"time_ms\":") else {
        return false;
    };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = rest.get(digits..).unwrap_or_default();
    rest.starts_with(b",\"event\":\"gap\"") || rest.starts_with(b",\"event\":\"log_")
}
