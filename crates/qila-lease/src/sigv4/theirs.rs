//! The signature that an agent made with what it holds.
use super::{ALGORITHM, SignError};

/// Largest header that is read.
const MAX: usize = 16 * 1024;

/// What an agent says of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Its hash.
    Hash([u8; 32]),
    /// Nothing.
    Unsigned,
    /// Nothing, and checksums come behind it.
    UnsignedTrailer,
}

impl Sent {
    /// As `x-amz-content-sha256` has it.
    pub(super) fn text(self) -> String {
        match self {
            Sent::Hash(hash) => super::hex(&hash),
            Sent::Unsigned => "UNSIGNED-PAYLOAD".into(),
            Sent::UnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".into(),
        }
    }
}

/// An agent's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Theirs {
    /// The id of the key that it says it was made with: the placeholder.
    pub id: String,
    /// What it says of the body; none where it says nothing.
    pub sent: Option<Sent>,
}

impl Theirs {
    /// Reads `authorization` and `x-amz-content-sha256`.
    pub fn read(authorization: &[u8], said: Option<&[u8]>) -> Result<Theirs, SignError> {
        let text = std::str::from_utf8(authorization)
            .ok()
            .filter(|t| t.len() <= MAX)
            .and_then(|t| t.trim().strip_prefix(ALGORITHM))
            .ok_or(SignError::Malformed)?;
        let scope = text
            .split(',')
            .find_map(|part| part.trim().strip_prefix("Credential="))
            .ok_or(SignError::Malformed)?;
        // The id may hold slashes of its own nowhere; the scope behind it has four.
        let (id, _) = scope.split_once('/').ok_or(SignError::Malformed)?;
        Ok(Theirs {
            id: id.to_owned(),
            sent: said.map(sent).transpose()?,
        })
    }
}

fn sent(text: &[u8]) -> Result<Sent, SignError> {
    match text {
        b"UNSIGNED-PAYLOAD" => Ok(Sent::Unsigned),
        b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Sent::UnsignedTrailer),
        hex if hex.len() == 64 => {
            let mut hash = [0u8; 32];
            for (to, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
                let text = std::str::from_utf8(pair).map_err(|_| SignError::Malformed)?;
                if !pair.iter().all(u8::is_ascii_hexdigit) {
                    return Err(SignError::Malformed);
                }
                *to = u8::from_str_radix(text, 16).map_err(|_| SignError::Malformed)?;
            }
            Ok(Sent::Hash(hash))
        }
        text if text.starts_with(b"STREAMING-") => Err(SignError::Pieces),
        _ => Err(SignError::Malformed),
    }
}
