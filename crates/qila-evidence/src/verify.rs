//! Verification: one pass over the whole log, in bounded memory.
use crate::checker::Checker;
use crate::dir::{self, Dir};
use crate::error::LogError;
use crate::frame::Parsed;
use crate::head;
use crate::key;
use crate::note::VerifierKey;
use crate::report::{Report, Witness};
use crate::window::Window;
use std::borrow::Borrow;
use std::fs::File;
use std::os::fd::BorrowedFd;

/// Checks every record, every checkpoint's root and every signature, and says what is wrong and where.
///
/// `trusted` is a signed checkpoint of this log that was kept elsewhere. `vkey` is the log's public key; without it the
/// one in `key.pub` beside the log is believed. Works on a copy without `key` and `lock`, and while others append.
pub fn verify(dir: BorrowedFd<'_>, trusted: Option<&str>, vkey: Option<&str>) -> Result<Report, LogError> {
    let dir = Dir::new(dir)?;
    let key = match vkey {
        Some(text) => VerifierKey::parse(text).map_err(|source| LogError::Key { source })?,
        None => key::public(&dir)?,
    };
    let trusted = trusted.map(|note| key.open(note).map_err(|source| LogError::Trusted { source }));
    let trusted = trusted.transpose()?;

    // One look under the lock, so that a commit that is being written is not taken for a torn tail.
    let look = || {
        let io = |e| LogError::io("open the log", e);
        let file = dir.read(dir::LOG).map_err(io)?;
        let length = file
            .as_ref()
            .map(|f| f.metadata().map(|m| m.len()))
            .transpose()
            .map_err(io)?;
        let hint = dir.read_small(dir::HEAD, head::LENGTH as u64).map_err(io)?;
        Ok((file, length.unwrap_or(0), hint))
    };
    let (file, length, hint) = match dir.existing_lock() {
        Some(lock) => lock.hold(true, look)?,
        None => look()?,
    };
    let head = hint.and_then(|bytes| head::decode(&bytes, &key));
    if file.is_none() && head.is_none() && trusted.is_none() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(LogError::io("find a log in this directory", missing));
    }
    let mut checker = Checker::new(&key);
    checker.watch(Witness::Head, head.map(|head| head.checkpoint));
    checker.watch(Witness::Trusted, trusted);
    if let Some(file) = file {
        let mut window = Window::new(file, 0, length);
        check(&mut window, &mut checker).map_err(|e| LogError::io("read the log", e))?;
    }
    Ok(checker.finish(length))
}

pub(crate) fn check<F: Borrow<File>>(log: &mut Window<F>, checker: &mut Checker<'_>) -> std::io::Result<()> {
    while !log.fill(1)?.is_empty() {
        let at = log.offset();
        let whole = match log.frame()? {
            Parsed::Whole(frame) => {
                checker.frame(at, &frame);
                let length = frame.length();
                log.skip(length);
                continue;
            }
            Parsed::Damaged(..) => true,
            Parsed::Need(_) | Parsed::Nonsense => false,
        };
        log.skip(1);
        let more = log.resync()?;
        checker.damage(at, log.offset() - at, more || whole);
    }
    Ok(())
}
