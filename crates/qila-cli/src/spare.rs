//! One emptied run directory, kept for the next run: file systems take longer to make and remove directories than the kernel
//! takes to make a sandbox.
//!
//! Whoever holds the lock of a directory may rename it, and nobody else. Nothing of a run is in a spare directory.
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, RawDir, RenameFlags, Timespec, Timestamps, UTIME_NOW, chmodat,
    flistxattr, flock, fstat, futimens, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::mem::MaybeUninit;

const NAME: &str = "spare";
/// What overlayfs had made for itself, until [`tidy`].
const OLD: &str = "layer/old";

/// Gives the spare directory a name and its lock, if there is one and nobody else takes it.
pub(crate) fn take(home: BorrowedFd<'_>, name: &str) -> Option<OwnedFd> {
    let dir = directory(home, NAME).ok()?;
    flock(&dir, FlockOperation::NonBlockingLockExclusive).ok()?;
    // It may have been taken, and another put in its place, before the lock was ours.
    let (ours, there) = (
        fstat(&dir).ok()?,
        statat(home, NAME, AtFlags::SYMLINK_NOFOLLOW).ok()?,
    );
    if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino) {
        return None;
    }
    renameat(home, NAME, home, name).ok()?;
    Some(dir)
}

/// Empties the directory of a run whose layer is untouched and keeps it. False: it has to be removed.
pub(crate) fn give(home: BorrowedFd<'_>, name: &str, dir: BorrowedFd<'_>) -> bool {
    let kept = || {
        let (upper, work) = (directory(dir, "layer/upper")?, directory(dir, "layer/work")?);
        let mut attributes = [0u8; 256];
        if !empty(&upper)? || flistxattr(&upper, &mut attributes)? != 0 {
            return Err(Errno::NOTEMPTY);
        }
        put_aside(dir, &work)?;
        // The agent saw the upper directory as its workspace: the next one is not to see when.
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        futimens(
            &upper,
            &Timestamps {
                last_access: now,
                last_modification: now,
            },
        )?;
        for file in ["meta.json", "baseline.json"] {
            match unlinkat(dir, file, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e),
            }
        }
        if !(holds(dir, &["layer"])?
            && holds(&directory(dir, "layer")?, &["upper", "work", "old"])?
            && empty(&work)?)
        {
            return Err(Errno::NOTEMPTY);
        }
        // The lock is kept: nobody takes it before this process has let go of it.
        renameat_with(home, name, home, NAME, RenameFlags::NOREPLACE)
    };
    kept().is_ok()
}

/// Puts what overlayfs made for itself out of the way, if there is nothing in it but the mark of a mount. To remove it takes
/// longer than all else that is done at the end of a run.
fn put_aside(dir: BorrowedFd<'_>, work: &OwnedFd) -> Result<(), Errno> {
    match chmodat(work, "work", Mode::RWXU, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()), // never mounted
        Err(e) => return Err(e),
    }
    if !holds(directory(work, "work")?, &["incompat"])? {
        return Err(Errno::NOTEMPTY);
    }
    renameat_with(work, "work", dir, OLD, RenameFlags::NOREPLACE)
}

/// Removes what was put aside. For a time at which there is nothing else to do.
pub(crate) fn tidy(dir: BorrowedFd<'_>) {
    if let Ok(layer) = directory(dir, "layer") {
        // What remains is removed with the run's directory.
        let _ = qila_workspace::remove_tree(layer, OsStr::new("old"));
    }
}

fn directory(at: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(at, name, flags, Mode::empty())
}

fn empty(dir: impl AsFd) -> Result<bool, Errno> {
    holds(dir, &[])
}

/// Whether nothing but these is in the directory.
fn holds(dir: impl AsFd, names: &[&str]) -> Result<bool, Errno> {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let again = directory(dir, ".")?;
    let mut entries = RawDir::new(again, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && !names.iter().any(|n| n.as_bytes() == name) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn skeleton(home: &Path, name: &str) -> OwnedFd {
        let run = home.join(name);
        std::fs::create_dir_all(run.join("layer/upper")).unwrap();
        std::fs::create_dir_all(run.join("layer/work/work/incompat/volatile")).unwrap();
        std::fs::write(run.join("meta.json"), "{}").unwrap();
        open(&run)
    }

    fn open(path: &Path) -> OwnedFd {
        directory(rustix::fs::CWD, path.to_str().unwrap()).unwrap()
    }

    #[test]
    fn what_is_kept_is_empty_and_taken_once() {
        let home = tempfile::tempdir().unwrap();
        let run = skeleton(home.path(), "one");
        let fd = open(home.path());
        assert!(give(fd.as_fd(), "one", run.as_fd()));
        assert!(!home.path().join("one").exists());
        assert!(!home.path().join("spare/meta.json").exists());
        assert!(!home.path().join("spare/layer/work/work").exists());
        assert!(take(fd.as_fd(), "none").is_some());
        std::fs::rename(home.path().join("none"), home.path().join("spare")).unwrap();
        flock(&run, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(take(fd.as_fd(), "none").is_none(), "it is still held");
        drop(run);
        let second = skeleton(home.path(), "two");
        assert!(!give(fd.as_fd(), "two", second.as_fd()), "one is enough");
        let taken = take(fd.as_fd(), "three").unwrap();
        assert!(home.path().join("three/layer/upper").is_dir());
        assert!(take(fd.as_fd(), "four").is_none());
        tidy(taken.as_fd());
        assert!(!home.path().join("three/layer/old").exists());
        let again = open(&home.path().join("three"));
        assert!(flock(&again, FlockOperation::NonBlockingLockExclusive).is_err());
        drop(taken);
    }

    #[test]
    fn what_holds_anything_is_not_kept() {
        let home = tempfile::tempdir().unwrap();
        let fd = open(home.path());
        for left in [
            "layer/upper/file",
            "layer/extra",
            "journal",
            "layer/work/other",
            "layer/work/work/#1",
        ] {
            let run = skeleton(home.path(), "one");
            let path = home.path().join("one").join(left);
            std::fs::write(&path, "x").unwrap();
            assert!(!give(fd.as_fd(), "one", run.as_fd()), "{left}");
            std::fs::remove_dir_all(home.path().join("one")).unwrap();
        }
        let run = skeleton(home.path(), "one");
        let upper = open(&home.path().join("one/layer/upper"));
        if rustix::fs::fsetxattr(&upper, "user.note", b"x", rustix::fs::XattrFlags::empty()).is_ok() {
            assert!(!give(fd.as_fd(), "one", run.as_fd()));
        } else {
            println!("skipped: attributes: this file system has none");
        }
    }
}
