//! Reading forward from a known tip: what others appended, and what a crash left.
use crate::error::LogError;
use crate::frame::{Frame, Kind, Parsed};
use crate::head::Tip;
use crate::note::{Checkpoint, VerifierKey};
use crate::store::MAX_BATCH;
use crate::window::{LONGEST, Window};
use std::borrow::Borrow;
use std::fs::File;

/// Longest tail that a crash can leave: one commit, which is all that is ever unsynced.
pub const MAX_TAIL: u64 = (MAX_BATCH + 2 * LONGEST) as u64;

/// What was found after the tip.
#[derive(Debug, Default)]
pub struct Found {
    /// Bytes after the last checkpoint: a commit that was never finished.
    pub torn: u64,
    /// A signed checkpoint within them over more records than are proved.
    pub lost: Option<(Checkpoint, String)>,
    /// Whether the records contradict the checkpoint that was watched for.
    pub contradicted: bool,
}

/// Moves the tip forward over everything that is whole and signed.
///
/// A torn tail is reported; anything that no crash can cause is an error, so that nothing acknowledged is cut off.
pub fn advance<F: Borrow<File>>(
    log: &mut Window<F>,
    tip: &mut Tip,
    key: &VerifierKey,
    watch: Option<&(Checkpoint, String)>,
) -> Result<Found, LogError> {
    let (from, end) = (tip.end, log.end());
    log.seek(from, end);
    let mut work = tip.frontier.clone();
    let mut found = Found::default();
    let watched =
        |f: &crate::merkle::Frontier| watch.is_some_and(|(w, _)| w.size == f.size() && w.root != f.root());
    // Records that a signed checkpoint proves although the log's own is damaged.
    let mut vouched = None;
    found.contradicted |= watched(&work);
    loop {
        let at = log.offset();
        let corrupt = |why, index| LogError::Corrupt {
            why,
            index,
            offset: at,
        };
        let frame = match log.frame().map_err(|e| LogError::io("read the log", e))? {
            Parsed::Whole(frame) => frame,
            _ => break,
        };
        let length = frame.length();
        if frame.index != work.size() {
            return Err(corrupt(
                "a record is missing, repeated or out of place",
                work.size(),
            ));
        }
        match frame.kind {
            Kind::Record => {
                work.push(frame.leaf);
                found.contradicted |= watched(&work);
                if watch.is_some_and(|(w, _)| w.size == work.size() && w.root == work.root()) {
                    vouched = Some((at + length as u64, work.clone()));
                }
            }
            Kind::Checkpoint => {
                let note = text(&frame).ok_or_else(|| corrupt("a checkpoint cannot be read", work.size()))?;
                let read = key
                    .read(note)
                    .map_err(|_| corrupt("a checkpoint is foreign", work.size()))?;
                if read.checkpoint
                    != (Checkpoint {
                        size: work.size(),
                        root: work.root(),
                    })
                {
                    return Err(corrupt(
                        "records differ from what was signed",
                        tip.frontier.size(),
                    ));
                }
                *tip = Tip {
                    at,
                    end: at + length as u64,
                    frontier: work.clone(),
                    note: note.to_owned(),
                };
            }
        }
        log.skip(length);
    }
    // Each checkpoint's root was compared above and the last one commits to all records: one signature is enough.
    if tip.end > from && key.open(&tip.note).is_err() {
        return Err(LogError::Corrupt {
            why: "a signature is wrong",
            index: tip.frontier.size(),
            offset: tip.at,
        });
    }
    if let (Some((end, frontier)), Some((_, note))) = (vouched, watch)
        && end > tip.end
    {
        *tip = Tip {
            at: end,
            end,
            frontier,
            note: note.clone(),
        };
    }
    found.torn = log.end().saturating_sub(tip.end);
    if found.torn > MAX_TAIL {
        return Err(LogError::Corrupt {
            why: "the log is damaged",
            index: work.size(),
            offset: log.offset(),
        });
    }
    found.lost = lost(log, tip, key)?;
    Ok(found)
}

fn text<'a>(frame: &Frame<'a>) -> Option<&'a str> {
    std::str::from_utf8(frame.payload).ok()
}

/// The signed checkpoint in the tail. A torn commit has one at most: more are the log itself, behind damage.
fn lost<F: Borrow<File>>(
    log: &mut Window<F>,
    tip: &Tip,
    key: &VerifierKey,
) -> Result<Option<(Checkpoint, String)>, LogError> {
    let mut best: Option<(Checkpoint, String)> = None;
    let io = |e| LogError::io("read the log", e);
    while log.resync().map_err(io)? {
        let Parsed::Whole(frame) = log.frame().map_err(io)? else {
            break;
        };
        let known = best.as_ref().map_or(tip.frontier.size(), |(c, _)| c.size);
        if frame.kind == Kind::Checkpoint
            && frame.index > known
            && let Some(note) = text(&frame)
            && let Ok(checkpoint) = key.open(note)
            && checkpoint.size > known
        {
            if best.is_some() {
                return Err(LogError::Corrupt {
                    why: "the log is damaged",
                    index: tip.frontier.size(),
                    offset: tip.end,
                });
            }
            best = Some((checkpoint, note.to_owned()));
        }
        let length = frame.length();
        log.skip(length);
    }
    Ok(best)
}
