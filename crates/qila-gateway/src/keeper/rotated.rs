//! The newest refresh token, where an endpoint gives another with each answer: what the policy names is then worth nothing any
//! more, for this run and for all later ones. It is kept under a name made of what the policy names, so that whoever writes
//! another token there begins anew.
use qila_lease::Hidden;
use qila_policy::model::Oauth2;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Largest token in bytes.
const MAX: usize = 16 * 1024;
/// Longest time to wait for another run that exchanges the same one.
const PATIENCE: Duration = Duration::from_secs(25);
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The place of one token, locked: who exchanges it is alone with it.
pub(super) struct Place {
    dir: OwnedFd,
    name: String,
    _lock: OwnedFd,
}

impl Place {
    /// Locks the place of a token.
    pub(super) async fn lock(dir: &Path, of: &Oauth2, original: &Hidden) -> Result<Place, String> {
        let fail = |e: Errno| format!("the newest refresh token cannot be kept: {e}");
        let text = Zeroizing::new(format!(
            "{}\0{}\0{}",
            of.token_url,
            of.client_id,
            original.expose()
        ));
        let digest: String = Sha256::digest(text.as_bytes())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let dir = openat(
            CWD,
            dir,
            OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let dir = dir.map_err(fail)?;
        let name = format!("refresh-{digest}");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = openat(&dir, format!("{name}.lock").as_str(), flags, MODE).map_err(fail)?;
        let start = Instant::now();
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(e) => return Err(fail(e)),
            }
        }
        Ok(Place {
            dir,
            name,
            _lock: lock,
        })
    }

    /// The newest, if there is another than the policy's.
    pub(super) fn newest(&self) -> Result<Option<Hidden>, String> {
        let fail = |e: Errno| format!("the newest refresh token cannot be read: {e}");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&self.dir, self.name.as_str(), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        let mut bytes = Zeroizing::new(vec![0u8; MAX + 1]);
        let mut have = 0;
        while let Some(rest) = bytes.get_mut(have..).filter(|r| !r.is_empty()) {
            match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *rest)).map_err(fail)? {
                0 => break,
                n => have += n,
            }
        }
        let text = std::str::from_utf8(bytes.get(..have).unwrap_or(&[])).ok();
        match text.filter(|t| !t.is_empty() && t.len() <= MAX) {
            Some(text) => Ok(Some(text.into())),
            None => Err("the newest refresh token is damaged: log in again, and put the new one where the policy names it".into()),
        }
    }

    /// Keeps another one, durably, whole or not at all.
    pub(super) fn keep(&self, token: &Hidden) -> Result<(), String> {
        let fail = |e: Errno| format!("the newest refresh token cannot be kept: {e}");
        let new = format!("{}.new", self.name);
        match unlinkat(&self.dir, new.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(fail(e)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, new.as_str(), flags, MODE).map_err(fail)?;
        let mut rest = token.expose().as_bytes();
        while !rest.is_empty() {
            let n = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest)).map_err(fail)?;
            rest = rest.get(n..).unwrap_or(&[]);
        }
        fsync(&file)
            .and_then(|()| renameat(&self.dir, new.as_str(), &self.dir, self.name.as_str()))
            .and_then(|()| fsync(&self.dir))
            .map_err(fail)
    }
}
