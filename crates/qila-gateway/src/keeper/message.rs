//! What is said between the gateway and its keeper: one packet each.
use crate::secrets::MAX;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroizing;

/// In front of an answer's text: the question's number, whether it is a value, its life in milliseconds and its lease's number
/// (zero says nothing of either).
const HEAD: usize = 4 + 1 + 8 + 8;
/// Largest answer in bytes: three values, and the signs between them.
pub(super) const MAX_ANSWER: usize = HEAD + 3 * (MAX + 2);

/// What the gateway asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    /// The value of the credential at a position, as it is now.
    Value(usize),
    /// To take a lease back.
    Retire(u64),
    /// To take everything back, and end.
    Finish,
}

/// A question.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) number: u32,
    pub(super) ask: Ask,
}

impl Question {
    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|e| e.to_string())
    }

    pub(super) fn decode(packet: &[u8]) -> Option<Question> {
        serde_json::from_slice(packet).ok()
    }
}

/// A value that was had; the parts of keys are apart by a NUL.
pub(crate) struct Had {
    pub(crate) text: Zeroizing<String>,
    /// How long it lasts from now on, where whoever gave it says so.
    pub(crate) life: Option<Duration>,
    /// Its lease, where it can be taken back.
    pub(crate) lease: Option<u64>,
}

impl Had {
    /// A text that lasts.
    pub(super) fn text(text: Zeroizing<String>) -> Had {
        Had {
            text,
            life: None,
            lease: None,
        }
    }
}

/// What became of a lease at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Left {
    /// The credential's name.
    pub(crate) credential: String,
    /// Why it was not taken back.
    pub(crate) why: Option<String>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) number: u32,
    pub(super) had: Result<Had, String>,
}

impl Answer {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(MAX_ANSWER));
        out.extend(self.number.to_le_bytes());
        let (ok, life, lease, text) = match &self.had {
            Ok(had) => {
                let life = had
                    .life
                    .map_or(0, |l| u64::try_from(l.as_millis()).unwrap_or(u64::MAX).max(1));
                (1u8, life, had.lease.unwrap_or(0), had.text.as_str())
            }
            Err(why) => (0, 0, 0, why.as_str()),
        };
        out.push(ok);
        out.extend(life.to_le_bytes());
        out.extend(lease.to_le_bytes());
        out.extend(text.as_bytes());
        // Only a reason can be that long: a value was measured.
        out.truncate(MAX_ANSWER);
        out
    }

    pub(super) fn decode(packet: &[u8]) -> Result<Answer, String> {
        let short = || "cannot be had: whoever reads it is gone".to_owned();
        let (head, text) = packet.split_at_checked(HEAD).ok_or_else(short)?;
        let eight = |at: usize| -> u64 {
            let bytes = head.get(at..at + 8).and_then(|b| b.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        let number = head.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        let had = match head.get(4) {
            Some(1) => {
                let text = std::str::from_utf8(text).map_err(|_| "is not text".to_owned())?;
                let (life, lease) = (eight(5), eight(13));
                Ok(Had {
                    text: Zeroizing::new(text.to_owned()),
                    life: (life > 0).then(|| Duration::from_millis(life)),
                    lease: (lease > 0).then_some(lease),
                })
            }
            _ => Err(String::from_utf8_lossy(text).into_owned()),
        };
        Ok(Answer { number, had })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let had = Had {
            text: Zeroizing::new("value-1".into()),
            life: Some(Duration::from_millis(1500)),
            lease: Some(7),
        };
        let packet = Answer {
            number: 9,
            had: Ok(had),
        }
        .encode();
        let answer = Answer::decode(&packet).unwrap();
        let had = answer.had.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(
            (answer.number, had.text.as_str(), had.lease),
            (9, "value-1", Some(7))
        );
        assert_eq!(had.life, Some(Duration::from_millis(1500)));
        for cut in 0..HEAD {
            assert!(Answer::decode(&packet[..cut]).is_err(), "{cut}");
        }
        let refused = Answer {
            number: 1,
            had: Err("why".into()),
        };
        let answer = Answer::decode(&refused.encode()).unwrap();
        assert_eq!(answer.had.err().as_deref(), Some("why"));
    }
}
