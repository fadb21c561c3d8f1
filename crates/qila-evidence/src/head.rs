//! The file `head`: a hint at where the log ends, so that opening it does not read it all.
//!
//! Nothing in it is trusted: the checkpoint is signed, the hashes must give its root, and the log must hold the same
//! checkpoint at the offset. It is written after each commit and never waited for.
use crate::frame::{Kind, Parsed};
use crate::merkle::{Frontier, Hash};
use crate::note::{Checkpoint, VerifierKey};
use crate::window::Window;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::borrow::Borrow;
use std::fs::File;
use std::io;

/// Its fixed length: one page, written at once.
pub const LENGTH: usize = 4096;
const TITLE: &str = "qila-head 1";

/// Where a log ends: after a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tip {
    /// Offset of the last checkpoint's frame.
    pub at: u64,
    /// Offset after that frame.
    pub end: u64,
    /// The tree.
    pub frontier: Frontier,
    /// The signed checkpoint; empty for an empty log.
    pub note: String,
}

/// What a `head` file says, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its signed text.
    pub note: String,
    /// Where it says that the log ends; none if its hashes do not give the root.
    place: Option<(u64, Frontier)>,
}

/// The file's bytes for a tip.
pub fn encode(tip: &Tip) -> Vec<u8> {
    let mut text = format!("{TITLE}\n{}\n", tip.at);
    for hash in tip.frontier.edge() {
        text.push_str(&STANDARD.encode(hash));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&tip.note);
    let mut bytes = text.into_bytes();
    bytes.resize(LENGTH, b'\n');
    bytes
}

/// Reads a `head` file; none if it holds no checkpoint that this key signed.
pub fn decode(bytes: &[u8], key: &VerifierKey) -> Option<Head> {
    let text = std::str::from_utf8(bytes.get(..LENGTH).unwrap_or(bytes)).ok()?;
    let (hint, note) = text.split_once("\n\n")?;
    let note = format!("{}\n", note.trim_end_matches('\n'));
    let checkpoint = key.open(&note).ok()?;
    Some(Head {
        checkpoint,
        note,
        place: place(hint, &checkpoint),
    })
}

fn place(hint: &str, checkpoint: &Checkpoint) -> Option<(u64, Frontier)> {
    let mut lines = hint.lines();
    if lines.next()? != TITLE {
        return None;
    }
    let at = lines.next()?.parse().ok()?;
    let edge: Option<Vec<Hash>> = lines
        .take(65)
        .map(|line| STANDARD.decode(line).ok()?.try_into().ok())
        .collect();
    let frontier = Frontier::from_parts(checkpoint.size, edge?)?;
    (frontier.root() == checkpoint.root).then_some((at, frontier))
}

impl Head {
    /// The tip it points at, if the log holds that checkpoint there.
    pub fn tip<F: Borrow<File>>(self, log: &mut Window<F>) -> io::Result<Option<Tip>> {
        let Some((at, frontier)) = self.place else {
            return Ok(None);
        };
        let end = log.end();
        log.seek(at, end);
        Ok(match log.frame()? {
            Parsed::Whole(frame)
                if frame.kind == Kind::Checkpoint && frame.payload == self.note.as_bytes() =>
            {
                let end = at + frame.length() as u64;
                Some(Tip {
                    at,
                    end,
                    frontier,
                    note: self.note,
                })
            }
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;
    use crate::note::Key;

    #[test]
    fn a_head_comes_back_and_a_wrong_one_is_not_believed() {
        let key = Key::from_seed(&[3; 32]);
        let mut frontier = Frontier::default();
        (0..11u8).for_each(|i| frontier.push(leaf_hash(&[i])));
        let checkpoint = Checkpoint {
            size: 11,
            root: frontier.root(),
        };
        let tip = Tip {
            at: 99,
            end: 400,
            frontier: frontier.clone(),
            note: key.sign(&checkpoint),
        };
        let bytes = encode(&tip);
        assert_eq!(bytes.len(), LENGTH);
        let head = decode(&bytes, key.public()).unwrap();
        assert_eq!((head.checkpoint, head.place), (checkpoint, Some((99, frontier))));
        assert_eq!(decode(&bytes, Key::from_seed(&[4; 32]).public()), None);
        let text = String::from_utf8(bytes).unwrap();
        let hash = STANDARD.encode(leaf_hash(&[10]));
        let wrong = text.replace(&hash, &STANDARD.encode([0; 32]));
        assert_ne!(wrong, text);
        assert_eq!(decode(wrong.as_bytes(), key.public()).unwrap().place, None);
        assert_eq!(
            decode(text.replace("\n11\n", "\n12\n").as_bytes(), key.public()),
            None
        );
    }
}
