//! Random secrets, and the search for any part of them in any usual spelling.
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use std::collections::BTreeMap;

/// Bytes of a plain secret that give it away.
const PART: usize = 10;

/// A random secret: 40 letters and digits, and characters between them that encoders write in ways of their own.
pub fn random() -> String {
    let mut bytes = [0u8; 40];
    getrandom::fill(&mut bytes).expect("the host has randomness");
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let text = bytes
        .iter()
        .map(|b| char::from(letters[usize::from(*b) % letters.len()]));
    let mut text: String = text.collect();
    text.insert(27, '+');
    text.insert(14, '/');
    format!("sk-{text}")
}

/// Finds parts of secrets.
pub struct Search(BTreeMap<String, Vec<Vec<u8>>>);

impl Search {
    /// For these, each with a name.
    pub fn of(secrets: &[(String, String)]) -> Search {
        Search(secrets.iter().map(|(n, s)| (n.clone(), needles(s))).collect())
    }

    /// The name of a secret, part of which is in there.
    pub fn find(&self, hay: &[u8]) -> Option<&str> {
        let hay = &without_padding(hay);
        let lower = hay.to_ascii_lowercase();
        let found = |n: &&Vec<u8>| {
            memchr::memmem::find(hay, n).is_some() || memchr::memmem::find(&lower, n).is_some()
        };
        self.0
            .iter()
            .find(|(_, all)| all.iter().any(|n| found(&n)))
            .map(|(name, _)| name.as_str())
    }

    /// As [`Search::find`], for one of them only.
    pub fn finds(&self, name: &str, hay: &[u8]) -> bool {
        let one = Search(
            self.0
                .iter()
                .filter(|(n, _)| *n == name)
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
        );
        one.find(hay).is_some()
    }
}

/// Long runs of the dots that the server pads with say nothing.
fn without_padding(hay: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(hay.len().min(4096));
    let mut dots = 0;
    for byte in hay {
        dots = if *byte == b'.' { dots + 1 } else { 0 };
        if dots < 16 {
            out.push(*byte);
        }
    }
    out
}

/// A few parts of the secret (which begins with a prefix that all have), plain and spelled.
fn needles(secret: &str) -> Vec<Vec<u8>> {
    let core = secret.strip_prefix("sk-").unwrap_or(secret);
    let mut out = Vec::new();
    let starts = (0..=core.len() - PART).step_by(3);
    for part in starts.map(|i| &core[i..i + PART]) {
        let bytes = part.as_bytes();
        out.push(bytes.to_vec());
        // Header names are written in lower case.
        out.push(part.to_ascii_lowercase().into_bytes());
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        out.push(hex.into_bytes());
        out.push(
            bytes
                .iter()
                .map(|b| format!("%{b:02x}"))
                .collect::<String>()
                .into_bytes(),
        );
        out.push(
            bytes
                .iter()
                .map(|b| format!("\\u{b:04x}"))
                .collect::<String>()
                .into_bytes(),
        );
    }
    // Base64 has three alignments; the first and last digits depend on the neighbours.
    for shift in 0..3 {
        let padded = [vec![b'x'; shift].as_slice(), secret.as_bytes()].concat();
        for text in [
            BASE64_STANDARD_NO_PAD.encode(&padded),
            BASE64_URL_SAFE_NO_PAD.encode(&padded),
            BASE64_STANDARD.encode(&padded),
        ] {
            for start in (8..text.len().saturating_sub(18)).step_by(5) {
                out.push(text.as_bytes()[start..start + 14].to_vec());
            }
        }
    }
    out.sort();
    out.dedup();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_that_the_server_uses_is_found() {
        let secret = random();
        let search = Search::of(&[("k".into(), secret.clone())]);
        for encoding in crate::server::ENCODINGS {
            let said = crate::server::encode(encoding, &secret);
            assert_eq!(search.find(said.as_bytes()), Some("k"), "{encoding}");
        }
        assert_eq!(search.find(&secret.as_bytes()[15..27]), Some("k"), "a part");
        assert_eq!(search.find(random().as_bytes()), None);
    }
}
