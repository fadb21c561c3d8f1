//! Keys: how they are made, and who holds one.
use async_trait::async_trait;
use qila_api::{ApiError, Authenticator, Kind, Principal, Quota, Quotas, Result, Tenant};
use qila_store::Store;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What a key begins with, so that a leaked one is known for what it is.
const PREFIX: &str = "qila_";
/// What it may begin with instead, for E2B's SDKs, which look at that: it is the same key.
const E2B: &str = "e2b_";
/// Hexadecimal digits after it: 256 bits.
const DIGITS: usize = 64;

/// A key that was just made: the only moment at which it can be read.
pub struct Minted {
    /// The key.
    pub secret: SecretString,
    /// Its id, which is no secret.
    pub id: String,
    /// What is kept of it.
    pub hash: [u8; 32],
}

/// Makes a key.
pub fn mint() -> Result<Minted> {
    let mut bytes = Zeroizing::new([0_u8; 40]);
    getrandom::fill(bytes.as_mut_slice())
        .map_err(|_| ApiError::new(Kind::Internal, "the system gives no random bytes"))?;
    let (secret, id) = bytes.split_at(32);
    let text = Zeroizing::new(format!("{PREFIX}{}", hex(secret).as_str()));
    let hash = Sha256::digest(text.as_bytes()).into();
    Ok(Minted {
        secret: SecretString::from(text.as_str()),
        id: format!("k{}", hex(id).as_str()),
        hash,
    })
}

/// What is kept of a key; none: it has not the form of one.
pub fn hash(key: &SecretString) -> Option<[u8; 32]> {
    let text = key.expose_secret();
    let digits = text.strip_prefix(PREFIX).or_else(|| text.strip_prefix(E2B))?;
    let sound = digits.len() == DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    sound.then(|| {
        let mut whole = Sha256::new();
        whole.update(PREFIX);
        whole.update(digits);
        whole.finalize().into()
    })
}

/// The same key as E2B's SDKs want it.
pub fn for_e2b(key: &SecretString) -> SecretString {
    let text = key.expose_secret();
    let digits = text.strip_prefix(PREFIX).unwrap_or(text);
    SecretString::from(Zeroizing::new(format!("{E2B}{digits}")).as_str())
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    use std::fmt::Write;
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Keys and quotas as the store has them.
#[derive(Debug, Clone)]
pub struct Keyring(pub Store);

#[async_trait]
impl Authenticator for Keyring {
    async fn authenticate(&self, key: &SecretString) -> Result<Option<Principal>> {
        let Some(hash) = hash(key) else { return Ok(None) };
        let row = self.0.by_hash(&hash).map_err(crate::problem::of_store)?;
        Ok(row.map(|row| Principal {
            tenant: row.tenant,
            key: row.id,
            admin: row.admin,
        }))
    }
}

impl Quotas for Keyring {
    /// A tenant that is unknown, or whose quota cannot be read, may have nothing.
    fn quota(&self, tenant: &Tenant) -> Quota {
        let nothing = Quota {
            sandboxes: 0,
            cpu_milli: 0,
            memory_mib: 0,
            disk_mib: 0,
            weight: 1,
        };
        self.0.quota_of(tenant).ok().flatten().unwrap_or(nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_256_bits_and_its_form_is_checked() {
        let (one, other) = (mint().unwrap(), mint().unwrap());
        assert_ne!(one.hash, other.hash);
        assert_eq!(one.secret.expose_secret().len(), PREFIX.len() + DIGITS);
        assert_eq!(hash(&one.secret), Some(one.hash));
        assert_eq!(hash(&for_e2b(&one.secret)), Some(one.hash));
        for bad in [
            "",
            "qila_",
            "qila_00",
            "e2b_0",
            &"0".repeat(69),
            &format!("qila_{}", "G".repeat(64)),
        ] {
            assert_eq!(hash(&SecretString::from(bad)), None, "{bad}");
        }
    }
}
