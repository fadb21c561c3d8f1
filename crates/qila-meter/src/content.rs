//! What a model said: kept up to a bound, or only its hash.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Bytes held beyond the bound until the redactor has run: a secret that the bound cuts in two is still seen whole.
pub const MARGIN: usize = 16 * 1024;

/// What is kept of text, reasoning and arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// Length and SHA-256.
    #[default]
    Hash,
    /// The text, up to so many bytes in one response.
    Text(usize),
}

/// One text of a response.
#[derive(Clone)]
pub struct Content {
    keep: Keep,
    bytes: u64,
    hash: Sha256,
    text: Vec<u8>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.bytes)
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        (self.keep, self.bytes, &self.text) == (other.keep, other.bytes, &other.text)
            && self.hash.clone().finalize() == other.hash.clone().finalize()
    }
}

impl Content {
    pub(crate) fn new(keep: Keep) -> Content {
        Content {
            keep,
            bytes: 0,
            hash: Sha256::new(),
            text: Vec::new(),
        }
    }

    /// Adds to it. `room` is what may still be held of the whole response.
    pub(crate) fn push(&mut self, piece: &[u8], room: &mut usize) {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        match self.keep {
            Keep::Nothing => {}
            Keep::Hash => self.hash.update(piece),
            Keep::Text(_) => {
                let part = piece.get(..piece.len().min(*room)).unwrap_or_default();
                *room = room.saturating_sub(part.len());
                self.text.extend_from_slice(part);
            }
        }
    }

    /// Takes what is held out again.
    pub(crate) fn clear(&mut self, room: &mut usize) {
        *room = room.saturating_add(self.text.len());
        *self = Content::new(self.keep);
    }

    /// How long the text is, kept or not, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is held of the text, before redaction: at most [`MARGIN`] more than was to be kept.
    pub fn held(&self) -> &[u8] {
        &self.text
    }

    /// What may be stored: the text is redacted first and cut afterwards. None where nothing is to be kept.
    pub fn stored(&self, redact: &dyn Fn(&mut Vec<u8>)) -> Option<Stored> {
        match self.keep {
            Keep::Nothing => None,
            Keep::Hash => Some(Stored::Hashed {
                sha256: hex(&self.hash.clone().finalize()),
                bytes: self.bytes,
            }),
            Keep::Text(_) => {
                let mut text = self.text.clone();
                let cut = (text.len() as u64) < self.bytes;
                redact(&mut text);
                if cut {
                    text.truncate(text.len().saturating_sub(MARGIN));
                }
                Some(Stored::Kept {
                    text: String::from_utf8_lossy(&text).into_owned(),
                    bytes: self.bytes,
                    cut,
                })
            }
        }
    }
}

/// A text as it stands in a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stored {
    /// The text after redaction.
    Kept {
        /// The text.
        text: String,
        /// Length of the whole, before redaction.
        bytes: u64,
        /// Whether its end is missing.
        #[serde(default)]
        cut: bool,
    },
    /// Its hash.
    Hashed {
        /// SHA-256 of the text before redaction, in hex.
        sha256: String,
        /// Its length.
        bytes: u64,
    },
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(b & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(keep: Keep, room: usize, pieces: &[&str]) -> Content {
        let (mut content, mut room) = (Content::new(keep), room);
        for piece in pieces {
            content.push(piece.as_bytes(), &mut room);
        }
        content
    }

    #[test]
    fn kept_hashed_or_nothing() {
        let nothing = |_: &mut Vec<u8>| {};
        assert_eq!(content(Keep::Nothing, 99, &["abc"]).stored(&nothing), None);
        let hash = content(Keep::Hash, 0, &["a", "bc"]).stored(&nothing);
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(hash, Some(Stored::Hashed { sha256, bytes: 3 }));
        let kept = content(Keep::Text(9), 99, &["a", "bc"]).stored(&|t| t.iter_mut().for_each(|b| *b = b'*'));
        assert_eq!(
            kept,
            Some(Stored::Kept {
                text: "***".to_owned(),
                bytes: 3,
                cut: false
            })
        );
    }

    #[test]
    fn what_the_bound_cuts_is_redacted_first() {
        let secret = "s3cr3t-value";
        let text = format!("{}{secret}{}", "a".repeat(95), "b".repeat(MARGIN * 2));
        let mask = |text: &mut Vec<u8>| {
            let shown = String::from_utf8_lossy(text).replace(secret, "*");
            *text = shown.into_bytes();
        };
        let Some(Stored::Kept { text, cut, .. }) =
            content(Keep::Text(100), 100 + MARGIN, &[&text]).stored(&mask)
        else {
            panic!()
        };
        assert!(cut);
        assert!(text.len() <= 100 && !text.contains("s3"), "{text}");
    }
}
