//! The key file: made once, under the lock.
use crate::dir::{self, Dir};
use crate::error::LogError;
use crate::note::{Key, NoteError};
use std::io::Read;
use zeroize::Zeroizing;

const LONGEST: u64 = 512;

/// Reads the key; none if there is none yet.
pub fn load(dir: &Dir) -> Result<Option<Key>, LogError> {
    let io = |e| LogError::io("read the key", e);
    let Some(mut file) = dir.read(dir::KEY).map_err(io)? else {
        return Ok(None);
    };
    let stat = rustix::fs::fstat(&file).map_err(|e| LogError::io("look at the key", e))?;
    dir::private(&stat, 0o077, "the evidence log's key")?;
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize));
    (&mut file).take(LONGEST).read_to_string(&mut text).map_err(io)?;
    Key::parse_secret(&text)
        .map(Some)
        .map_err(|source| LogError::Key { source })
}

/// Makes a key and keeps it, and its public half beside it.
pub fn create(dir: &Dir) -> Result<Key, LogError> {
    let mut seed = Zeroizing::new([0; 32]);
    let mut filled = 0;
    while let Some(rest) = seed.get_mut(filled..).filter(|r| !r.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .or_else(|e| {
                if e == rustix::io::Errno::INTR {
                    Ok(0)
                } else {
                    Err(e)
                }
            })
            .map_err(|e| LogError::io("make a key", e))?;
    }
    let key = Key::from_seed(&seed);
    let keep = |e| LogError::io("keep the key", e);
    dir.replace(
        dir::PUBLIC,
        "key.pub.new",
        format!("{}\n", key.public()).as_bytes(),
    )
    .map_err(keep)?;
    dir.replace(dir::KEY, "key.new", key.to_secret_text().as_bytes())
        .map_err(keep)?;
    Ok(key)
}

/// Reads the public key that lies beside a log.
pub fn public(dir: &Dir) -> Result<crate::note::VerifierKey, LogError> {
    let bytes = dir
        .read_small(dir::PUBLIC, LONGEST)
        .map_err(|e| LogError::io("read key.pub", e))?;
    let bytes = bytes.ok_or(LogError::PublicKeyMissing)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| LogError::Key {
        source: NoteError::Key,
    })?;
    crate::note::VerifierKey::parse(text).map_err(|source| LogError::Key { source })
}
