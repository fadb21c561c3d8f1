//! The journal of a run's leases on the disk: locked for as long as somebody works on it, gone once nothing is left.
use crate::config::Leases;
use qila_lease::journal::{self, MAX, Record, State};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, fsync, openat, statat, unlinkat};
use rustix::io::Errno;
use std::path::Path;
use zeroize::Zeroizing;

/// A journal that cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookError {
    /// The file system says no.
    #[error("the journal of leases: {0}")]
    Io(#[from] Errno),
    /// It is not what was written.
    #[error(transparent)]
    Damaged(#[from] journal::Damaged),
    /// Somebody else's, or readable to others.
    #[error("the journal of leases is not a file of yours alone")]
    Foreign,
}

/// A journal, open and locked.
pub(super) struct Book {
    dir: OwnedFd,
    name: String,
    file: OwnedFd,
}

fn directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

impl Book {
    /// That of a run which begins. Its name is durable before anything is written into it.
    pub(super) fn create(leases: &Leases, first: &Record) -> Result<Book, BookError> {
        let dir = directory(&leases.dir)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&dir, leases.run.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let book = Book {
            dir,
            name: leases.run.clone(),
            file,
        };
        book.write(first)?;
        fsync(&book.dir)?;
        Ok(book)
    }

    /// One that was left. None: there is none, or somebody works on it.
    pub(super) fn open(dir: impl AsFd, name: &str) -> Result<Option<(Book, State)>, BookError> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        let stat = fstat(&file)?;
        // Whoever had it before may have removed it just now.
        match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(now) if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) => {}
            Ok(_) | Err(Errno::NOENT) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        let read = journal::read(&content(&file)?)?;
        rustix::fs::ftruncate(&file, read.whole as u64)?;
        rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))?;
        let dir = rustix::io::fcntl_dupfd_cloexec(dir, 3)?;
        let name = name.to_owned();
        Ok(Some((Book { dir, name, file }, journal::state(&read.records))))
    }

    /// What a journal says, whoever works on it; none if there is none.
    pub(super) fn look(dir: impl AsFd, name: &str) -> Result<Option<State>, BookError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&dir, name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(journal::state(&journal::read(&content(&file)?)?.records))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes a record; durable on return.
    pub(super) fn write(&self, record: &Record) -> Result<(), BookError> {
        let line = journal::line(record)?;
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let n = rustix::io::retry_on_intr(|| rustix::io::write(&self.file, rest))?;
            rest = rest.get(n..).unwrap_or(&[]);
        }
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    /// Nothing is left to be remembered.
    pub(super) fn remove(self) -> Result<(), BookError> {
        Ok(unlinkat(&self.dir, self.name.as_str(), AtFlags::empty())?)
    }
}

fn content(file: &OwnedFd) -> Result<Zeroizing<Vec<u8>>, BookError> {
    let stat = fstat(file)?;
    let ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_mode & 0o077 == 0;
    if stat.st_mode & 0o170_000 != 0o100_000 || !ours {
        return Err(BookError::Foreign);
    }
    // A byte more than may be: that is an error of its own.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        MAX.min(usize::try_from(stat.st_size).unwrap_or(MAX)) + 1,
    ));
    let mut piece = Zeroizing::new([0u8; 16 * 1024]);
    while bytes.len() <= MAX {
        match rustix::io::retry_on_intr(|| rustix::io::read(file, piece.as_mut_slice()))? {
            0 => break,
            n => bytes.extend_from_slice(piece.get(..n).unwrap_or(&[])),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Leases) {
        let dir = tempfile::tempdir().unwrap();
        let leases = Leases {
            dir: dir.path().to_owned(),
            run: "run-1".into(),
        };
        (dir, leases)
    }

    const FIRST: Record = Record::Ways {
        upstreams: Vec::new(),
        authorities: Vec::new(),
    };

    /// Opens one that nobody of ours works on any more. A process that a test beside this one starts holds a copy of the lock
    /// until it executes its program.
    fn open(dir: &OwnedFd, name: &str) -> Result<(Book, State), BookError> {
        for _ in 0..500 {
            if let Some(open) = Book::open(dir, name)? {
                return Ok(open);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("somebody works on {name}");
    }

    #[test]
    fn one_works_on_a_journal_at_a_time() {
        let (_kept, leases) = place();
        let book = Book::create(&leases, &FIRST).unwrap();
        assert!(Book::create(&leases, &FIRST).is_err());
        let asking = Record::Asking {
            id: 1,
            credential: "key".into(),
        };
        book.write(&asking).unwrap();
        let dir = directory(&leases.dir).unwrap();
        assert!(Book::open(&dir, "run-1").unwrap().is_none());
        assert_eq!(Book::look(&dir, "run-1").unwrap().unwrap().open.len(), 1);
        drop(book);
        // A torn line is cut, and writing goes on behind the last whole one.
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(leases.dir.join("run-1"))
            .unwrap();
        file.write_all(b"0123456789abcdef {\"over").unwrap();
        let (book, state) = open(&dir, "run-1").unwrap();
        assert_eq!(state.open.len(), 1);
        book.write(&Record::Over { id: 1 }).unwrap();
        drop(book);
        let (book, state) = open(&dir, "run-1").unwrap();
        assert!(state.open.is_empty());
        book.remove().unwrap();
        assert!(Book::open(&dir, "run-1").unwrap().is_none());
    }

    #[test]
    fn what_is_not_ours_alone_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let (_kept, leases) = place();
        drop(Book::create(&leases, &FIRST).unwrap());
        let dir = directory(&leases.dir).unwrap();
        let path = leases.dir.join("run-1");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(matches!(open(&dir, "run-1"), Err(BookError::Foreign)));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, leases.dir.join("run-2")).unwrap();
        assert!(matches!(open(&dir, "run-2"), Err(BookError::Io(Errno::LOOP))));
        std::fs::write(&path, b"nothing of ours\n").unwrap();
        assert!(matches!(open(&dir, "run-1"), Err(BookError::Damaged(_))));
    }
}
