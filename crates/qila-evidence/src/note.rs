//! Signed notes, verifier keys and checkpoints (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).
use crate::merkle::Hash;
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// Longest signed checkpoint in bytes.
pub const MAX_NOTE: usize = 1024;
const ED25519: u8 = 1;

/// Why a text is not a key or a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Not in the form of a key.
    #[error("not a verifier key in the form `name+hash+base64`")]
    Key,
    /// Not in the form of a signed checkpoint.
    #[error("not a signed checkpoint")]
    Malformed,
    /// Signed by, or for, another log.
    #[error("signed by another key: `{found}` instead of `{wanted}`")]
    WrongKey {
        /// Name of the key it should be signed by.
        wanted: String,
        /// Name of the key or log that it claims.
        found: String,
    },
    /// The signature does not match the text.
    #[error("the signature does not match")]
    BadSignature,
}

/// Public half of a log's key: what a third party needs to verify its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

fn key_hash(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key.as_bytes())
        .finalize();
    let [a, b, c, d, ..]: Hash = digest.into();
    [a, b, c, d]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl VerifierKey {
    /// The log's origin line, which is also its key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Parses a C2SP verifier key, the text of a `key.pub` file.
    pub fn parse(text: &str) -> Result<VerifierKey, NoteError> {
        let mut parts = text.trim_end().splitn(3, '+');
        let (Some(name), Some(hash), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let plain = |c: char| c.is_ascii_graphic() && c != '+';
        if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
            return Err(NoteError::Key);
        }
        let data = STANDARD.decode(data).map_err(|_| NoteError::Key)?;
        let key = match data.split_first() {
            Some((&ED25519, key)) => key.try_into().map_err(|_| NoteError::Key)?,
            _ => return Err(NoteError::Key),
        };
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteError::Key)?;
        if hex(&key_hash(name, &key)) != hash {
            return Err(NoteError::Key);
        }
        Ok(VerifierKey {
            name: name.to_owned(),
            key,
        })
    }

    /// Checks a signed checkpoint and reads it.
    pub fn open(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let read = self.read(note)?;
        self.check(note, &read)?;
        Ok(read.checkpoint)
    }

    /// Checks the signature of what [`VerifierKey::read`] read from the same note.
    pub(crate) fn check(&self, note: &str, read: &Unchecked) -> Result<(), NoteError> {
        let text = note.get(..read.signed).unwrap_or_default();
        self.key
            .verify_strict(text.as_bytes(), &read.signature)
            .map_err(|_| NoteError::BadSignature)
    }

    /// Reads a checkpoint that claims to be signed by this key, its signature unchecked.
    pub(crate) fn read(&self, note: &str) -> Result<Unchecked, NoteError> {
        if note.len() > MAX_NOTE {
            return Err(NoteError::Malformed);
        }
        let (body, signatures) = note.split_once("\n\n").ok_or(NoteError::Malformed)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Malformed);
        };
        if origin != self.name {
            return Err(self.wrong(origin));
        }
        let canonical = size.bytes().all(|b| b.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size
            .parse()
            .ok()
            .filter(|_| canonical)
            .ok_or(NoteError::Malformed)?;
        let root = STANDARD.decode(root).map_err(|_| NoteError::Malformed)?;
        let root = Hash::try_from(root).map_err(|_| NoteError::Malformed)?;
        if !signatures.ends_with('\n') {
            return Err(NoteError::Malformed);
        }
        let mut other = None;
        let mut ours = None;
        for line in signatures.lines() {
            let line = line.strip_prefix("— ").ok_or(NoteError::Malformed)?;
            let (name, data) = line.split_once(' ').ok_or(NoteError::Malformed)?;
            let data = STANDARD.decode(data).map_err(|_| NoteError::Malformed)?;
            let (hash, signature) = data.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
            if name != self.name || *hash != key_hash(&self.name, &self.key) {
                other = Some(format!("{name}+{}", hex(hash)));
                continue; // Cosignatures by others are allowed and say nothing to us.
            }
            ours = Some(Signature::from_slice(signature).map_err(|_| NoteError::Malformed)?);
        }
        let checkpoint = Checkpoint { size, root };
        match ours {
            Some(signature) => Ok(Unchecked {
                checkpoint,
                signature,
                signed: body.len() + 1,
            }),
            None => Err(other.map_or(NoteError::Malformed, |found| self.wrong(&found))),
        }
    }

    fn wrong(&self, found: &str) -> NoteError {
        NoteError::WrongKey {
            wanted: format!("{}+{}", self.name, hex(&key_hash(&self.name, &self.key))),
            found: found.chars().filter(|c| !c.is_control()).take(160).collect(),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut data = vec![ED25519];
        data.extend_from_slice(self.key.as_bytes());
        let hash = hex(&key_hash(&self.name, &self.key));
        write!(f, "{}+{hash}+{}", self.name, STANDARD.encode(data))
    }
}

/// How many records a log has, and the root of their tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of records.
    pub size: u64,
    /// Root of the Merkle tree over them.
    pub root: Hash,
}

/// A checkpoint whose signature is still to be checked.
pub(crate) struct Unchecked {
    pub checkpoint: Checkpoint,
    signature: Signature,
    signed: usize,
}

/// A log's signing key; wiped from memory when dropped.
pub struct Key {
    signing: SigningKey,
    public: VerifierKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.public.name)
    }
}

impl Key {
    /// The key with this secret; its name carries the first 16 hexadecimal digits of the public key's SHA-256.
    pub fn from_seed(seed: &[u8; 32]) -> Key {
        let signing = SigningKey::from_bytes(seed);
        let key = signing.verifying_key();
        let digest = hex(&Sha256::digest(key.as_bytes()));
        let name = format!("qila.dev/evidence/{}", digest.get(..16).unwrap_or_default());
        Key {
            signing,
            public: VerifierKey { name, key },
        }
    }

    /// The public half.
    pub fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// The text of the `key` file: `PRIVATE+KEY+name+hash+base64`.
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        let mut data = Zeroizing::new(vec![ED25519]);
        data.extend_from_slice(&self.signing.to_bytes());
        let hash = hex(&key_hash(&self.public.name, &self.public.key));
        let data = Zeroizing::new(STANDARD.encode(&*data));
        Zeroizing::new(format!("PRIVATE+KEY+{}+{hash}+{}\n", self.public.name, *data))
    }

    /// Reads what [`Key::to_secret_text`] wrote.
    pub fn parse_secret(text: &str) -> Result<Key, NoteError> {
        // Base64 may itself hold `+`, so the seed is found by its length and the whole text compared afterwards.
        let text = text.trim_end();
        let start = text.len().checked_sub(44).ok_or(NoteError::Key)?;
        let data = text.get(start..).ok_or(NoteError::Key)?;
        let data = Zeroizing::new(STANDARD.decode(data).map_err(|_| NoteError::Key)?);
        let Some((&ED25519, seed)) = data.split_first() else {
            return Err(NoteError::Key);
        };
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(seed.try_into().map_err(|_| NoteError::Key)?);
        let key = Key::from_seed(&seed);
        if key.to_secret_text().trim_end() != text {
            return Err(NoteError::Key);
        }
        Ok(key)
    }

    /// Signs a checkpoint as a note.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let name = &self.public.name;
        let body = format!(
            "{name}\n{}\n{}\n",
            checkpoint.size,
            STANDARD.encode(checkpoint.root)
        );
        let mut data = key_hash(name, &self.public.key).to_vec();
        data.extend_from_slice(&self.signing.sign(body.as_bytes()).to_bytes());
        format!("{body}\n— {name} {}\n", STANDARD.encode(data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_key_has_its_published_hash() {
        // From the documentation of golang.org/x/mod/sumdb/note.
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(VerifierKey::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn keys_and_checkpoints_come_back() {
        for seed in 0..64 {
            let key = Key::from_seed(&[seed; 32]);
            let back = Key::parse_secret(&key.to_secret_text()).unwrap();
            assert_eq!(back.public(), key.public());
            assert_eq!(
                &VerifierKey::parse(&key.public().to_string()).unwrap(),
                key.public()
            );
            let checkpoint = Checkpoint {
                size: 7,
                root: [9; 32],
            };
            let note = key.sign(&checkpoint);
            assert_eq!(key.public().open(&note), Ok(checkpoint));
            let other = Key::from_seed(&[seed + 1; 32]);
            assert!(matches!(
                other.public().open(&note),
                Err(NoteError::WrongKey { .. })
            ));
            assert!(key.public().open(&note.replace("\n7\n", "\n8\n")).is_err());
        }
    }
}
