//! Typed identifiers.
use serde::{Deserialize, Serialize};
use std::fmt;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Names one run of one agent: 20 characters of Crockford base32, 50 bits of time and 50 of randomness.
///
/// Ids sort by time of creation and are safe as file names and as arguments.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

/// Why a text is not a [`RunId`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    /// The length or the alphabet is wrong.
    #[error("`{0}` is not a run id: expected 20 characters of 0-9 and a-z without i, l, o, u")]
    Malformed(String),
}

impl RunId {
    /// Builds an id from a Unix time in milliseconds and random bits (the low 50 of each are used).
    pub fn from_parts(unix_ms: u64, random: u64) -> RunId {
        let mut text = String::with_capacity(20);
        for part in [unix_ms, random] {
            for i in (0..10u32).rev() {
                let index = ((part >> (5 * i)) & 31) as usize;
                text.push(char::from(ALPHABET.get(index).copied().unwrap_or(b'0')));
            }
        }
        RunId(text)
    }

    /// Parses an id, refusing anything that [`RunId::from_parts`] could not have made.
    pub fn parse(text: &str) -> Result<RunId, IdError> {
        if text.len() == 20 && text.bytes().all(|b| ALPHABET.contains(&b)) {
            Ok(RunId(text.to_owned()))
        } else {
            Err(IdError::Malformed(text.chars().take(64).collect()))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = IdError;
    fn try_from(text: String) -> Result<RunId, IdError> {
        RunId::parse(&text)
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> String {
        id.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_survive_a_round_trip() {
        let early = RunId::from_parts(1_795_000_000_000, 7);
        let late = RunId::from_parts(1_795_000_000_001, 0);
        assert!(early < late);
        assert_eq!(RunId::parse(early.as_str()), Ok(early));
    }

    #[test]
    fn hostile_ids_are_refused() {
        for bad in [
            "",
            "../../etc/passwd/aaaa",
            "0123456789abcdefghjI",
            "0123456789abcdefghj\n",
        ] {
            assert!(RunId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
