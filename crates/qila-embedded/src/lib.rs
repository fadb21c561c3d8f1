//! The guest's program, embedded, and its copy under `$QILA_HOME` from which it is started.
#![forbid(unsafe_code)]

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering};

/// The static program of PID 1.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/qila-guest"));

/// Tells builds apart, hashed by the build script; the directory is the user's own, so that nothing more is asked of it.
const NAME: &str = concat!("guest-", env!("CARGO_PKG_VERSION"), "-", env!("QILA_GUEST_HASH"));
/// Drafts that this process has begun.
static DRAFTS: AtomicU32 = AtomicU32::new(0);

/// Opens the guest, leaving a copy in `$QILA_HOME`, which is `home`, the first time: a file's pages are shared by all sandboxes.
pub fn open(home: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(home, NAME, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        Ok(fd) if sound(&fd) => return Ok(fd),
        Ok(_) => drop(unlinkat(home, NAME, AtFlags::empty())),
        Err(e) => return Err(e),
    }
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let draft = format!(".{NAME}.{}.{number}", std::process::id());
    // Of a process that had this one's number, and was killed.
    let _ = unlinkat(home, draft.as_str(), AtFlags::empty()); // if it is there still, the next step says so
    let made = write(home, &draft).and_then(|()| renameat(home, draft.as_str(), home, NAME));
    if let Err(e) = made {
        let _ = unlinkat(home, draft.as_str(), AtFlags::empty()); // the first error is told
        return Err(e);
    }
    match openat(home, NAME, flags, Mode::empty()) {
        Ok(fd) if !sound(&fd) => Err(Errno::STALE), // somebody else writes here
        other => other,
    }
}

fn write(home: BorrowedFd<'_>, draft: &str) -> Result<(), Errno> {
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = openat(home, draft, create, Mode::from_raw_mode(0o500))?;
    let mut rest = PROGRAM;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest)?;
        rest = rest.get(n..).unwrap_or(&[]);
    }
    fsync(&fd)
}

/// Ours, whole, and writable by nobody.
fn sound(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|s| {
        usize::try_from(s.st_size) == Ok(PROGRAM.len())
            && s.st_uid == rustix::process::geteuid().as_raw()
            && s.st_mode & 0o222 == 0
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn drafts_of_the_dead_and_copies_that_are_not_whole_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let home = std::fs::File::open(dir.path()).unwrap();
        for n in 0..8 {
            let draft = format!(".{NAME}.{}.{n}", std::process::id());
            std::fs::write(dir.path().join(draft), "half").unwrap();
        }
        std::fs::write(dir.path().join(NAME), "half").unwrap();
        let before = DRAFTS.load(Ordering::Relaxed);
        for _ in 0..2 {
            assert!(sound(&open(home.as_fd()).unwrap()));
        }
        assert_eq!(DRAFTS.load(Ordering::Relaxed), before + 1);
        assert_eq!(std::fs::read(dir.path().join(NAME)).unwrap(), PROGRAM);
        // What cannot get its name leaves no draft.
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        let left = || std::fs::read_dir(dir.path()).unwrap().count();
        let there = left();
        std::fs::create_dir(dir.path().join(NAME)).unwrap();
        assert!(open(home.as_fd()).is_err());
        assert_eq!(left(), there, "one draft was another's, and its directory stays");
    }
}
