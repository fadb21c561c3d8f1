//! The guest's program, embedded, and its copy under `$QILA_HOME` from which it is started.
#![forbid(unsafe_code)]

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fsync, openat, renameat, unlinkat};
use rustix::io::Errno;

/// The static program of PID 1.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/qila-guest"));

/// Opens the guest, leaving a copy in `$QILA_HOME`, which is `home`, the first time: a file's pages are shared by all sandboxes.
pub fn open(home: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let name = format!("guest-{}-{:08x}", env!("CARGO_PKG_VERSION"), fingerprint(PROGRAM));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match openat(home, name.as_str(), flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        Ok(fd) if sound(&fd) => return Ok(fd),
        Ok(_) => drop(unlinkat(home, name.as_str(), rustix::fs::AtFlags::empty())),
        Err(e) => return Err(e),
    }
    let draft = format!(".{name}.{}", std::process::id());
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = openat(home, draft.as_str(), create, Mode::from_raw_mode(0o500))?;
    let mut rest = PROGRAM;
    while !rest.is_empty() {
        let n = rustix::io::write(&fd, rest)?;
        rest = rest.get(n..).unwrap_or(&[]);
    }
    fsync(&fd)?;
    drop(fd);
    renameat(home, draft.as_str(), home, name.as_str())?;
    openat(home, name.as_str(), flags, Mode::empty())
}

/// Ours, whole, and writable by nobody.
fn sound(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|s| {
        usize::try_from(s.st_size) == Ok(PROGRAM.len())
            && s.st_uid == rustix::process::geteuid().as_raw()
            && s.st_mode & 0o222 == 0
    })
}

/// Tells builds apart; the directory is the user's own, so that nothing more is asked of it. Length and 64 samples.
const fn fingerprint(bytes: &[u8]) -> u32 {
    let mut hash = 0x811c_9dc5u32 ^ (bytes.len() as u32);
    let step = bytes.len() / 4096 + 1;
    let mut i = 0;
    #[allow(clippy::indexing_slicing, reason = "bounded by the loop's condition")]
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += step;
    }
    hash
}
