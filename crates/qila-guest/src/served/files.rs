//! Reading, writing, moving and removing files.
use super::look::{above, entry, names, open, split};
use super::work::{Failed, Line, said};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use qila_wire::served::{Answer, Kind, Say};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat, readlinkat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

/// Links followed one after another.
const LINKS: u32 = 40;

/// Hands out a descriptor of a regular file. Where to begin is for whoever reads it.
pub(super) fn read(line: &Line, path: &[u8], offset: u64) -> Result<(), Failed> {
    let failed = |e| ("reading the file", e);
    // A pipe would make us wait for whoever writes to it.
    let fd = open(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).map_err(failed)?;
    let stat = fstat(&fd).map_err(failed)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(failed(Errno::ISDIR)),
        _ => return Err(failed(Errno::INVAL)),
    }
    if offset > 0 {
        rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(offset)).map_err(failed)?;
    }
    let mut found = entry(path)?;
    found.size = u64::try_from(stat.st_size).unwrap_or(0);
    said(line.pass(&Answer::Entry(found), fd.as_fd()))
}

/// Takes a file's bytes and puts it in place once all of them have come. What was there before is there until then.
pub(super) fn write(line: &mut Line, path: &[u8], mode: Option<u32>) -> Result<(), Failed> {
    let failed = |e| ("writing the file", e);
    let target = behind_links(path)?;
    make_dirs(split(&target)?.0)?;
    let (dir, name) = above(&target)?;
    let before = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).ok();
    let bits = match before {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            return Err(failed(Errno::ISDIR));
        }
        Some(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
            return Err(failed(Errno::INVAL));
        }
        Some(stat) => mode.unwrap_or(stat.st_mode & 0o777),
        None => mode.unwrap_or(0o644),
    };
    let draft = Draft::make(&dir)?;
    said(line.say(&Answer::Done))?;
    loop {
        match line.hear() {
            Ok(Say::Bytes(bytes)) => put(&draft.file, &bytes).map_err(failed)?,
            Ok(Say::End) => break,
            Ok(_) => return Err(failed(Errno::PROTO)),
            // Whoever wrote is gone in the middle: nothing has happened.
            Err(e) => return Err(failed(e)),
        }
    }
    fchmod(&draft.file, Mode::from_raw_mode(bits & 0o777)).map_err(failed)?;
    draft.keep(name).map_err(failed)?;
    let mut found = entry(&target)?;
    found.path = path.to_vec();
    said(line.say(&Answer::Entry(found)))
}

/// A file on its way, gone again unless it is kept.
struct Draft<'a> {
    dir: &'a OwnedFd,
    name: Vec<u8>,
    file: OwnedFd,
    kept: bool,
}

impl<'a> Draft<'a> {
    fn make(dir: &'a OwnedFd) -> Result<Draft<'a>, Failed> {
        // Its own process id tells it apart from every other one at work.
        let name = format!(".qila-{}", rustix::process::getpid().as_raw_nonzero()).into_bytes();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(dir, name.as_slice(), flags, Mode::from_raw_mode(0o600));
        let file = file.map_err(|e| ("writing into the directory", e))?;
        Ok(Draft {
            dir,
            name,
            file,
            kept: false,
        })
    }

    fn keep(mut self, name: &[u8]) -> Result<(), Errno> {
        renameat(self.dir, self.name.as_slice(), self.dir, name)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = unlinkat(self.dir, self.name.as_slice(), AtFlags::empty());
        }
    }
}

fn put(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or(&[]),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Where a path leads if it is a link: a file that is written through a link stays a link.
fn behind_links(path: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut path = path.to_vec();
    for _ in 0..LINKS {
        let (dir_path, name) = split(&path)?;
        let dir = match open(dir_path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return Ok(path),
            Err(e) => return Err(("opening the directory", e)),
        };
        let Ok(to) = readlinkat(&dir, name, Vec::new()) else {
            return Ok(path);
        };
        path = super::look::absolute(to.as_bytes(), dir_path)?;
    }
    Err(("following links", Errno::LOOP))
}

/// Makes a directory and those above it.
fn make_dirs(path: &[u8]) -> Result<(), Failed> {
    let failed = |e| ("making the directory", e);
    let ends = path
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'/')
        .map(|(at, _)| at);
    for end in ends.skip(1).chain([path.len()]) {
        let so_far = path.get(..end).unwrap_or(path);
        if so_far.is_empty() || so_far == b"/" {
            continue;
        }
        if open(so_far, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).is_ok() {
            continue;
        }
        let (dir, name) = above(so_far)?;
        match mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                open(so_far, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
            }
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(())
}

/// Makes a directory that is not there yet, and those above it.
pub(super) fn make_dir(path: &[u8]) -> Result<(), Failed> {
    let failed = |e| ("making the directory", e);
    if path == b"/" {
        return Err(failed(Errno::EXIST));
    }
    make_dirs(split(path)?.0)?;
    let (dir, name) = above(path)?;
    mkdirat(&dir, name, Mode::from_raw_mode(0o755)).map_err(failed)
}

/// Moves.
pub(super) fn rename(from: &[u8], to: &[u8]) -> Result<(), Failed> {
    make_dirs(split(to)?.0)?;
    let (old, old_name) = above(from)?;
    let (new, new_name) = above(to)?;
    renameat(&old, old_name, &new, new_name).map_err(|e| ("moving", e))
}

/// Removes a file, or a directory with everything in it. What is gone already is no error.
pub(super) fn remove(path: &[u8]) -> Result<(), Failed> {
    let failed = |e| ("removing", e);
    let kind = match entry(path) {
        Ok(found) => found.kind,
        Err((_, Errno::NOENT)) => return Ok(()),
        Err(e) => return Err(e),
    };
    let (dir, name) = above(path)?;
    if kind != Kind::Directory {
        return gone(unlinkat(&dir, name, AtFlags::empty())).map_err(failed);
    }
    // One descriptor a level: deeper than this process may have open, it says so.
    let mut levels: Vec<Level> = vec![descend(dir, name.to_vec()).map_err(failed)?];
    while let Some((here, _, rest)) = levels.last_mut() {
        let Some(name) = rest.pop() else {
            let Some((_, own, _)) = levels.pop() else { break };
            let parent = match levels.last() {
                Some((above, _, _)) => unlinkat(above, own.as_slice(), AtFlags::REMOVEDIR),
                None => {
                    let (dir, name) = above(path)?;
                    unlinkat(&dir, name, AtFlags::REMOVEDIR)
                }
            };
            gone(parent).map_err(failed)?;
            continue;
        };
        match unlinkat(&*here, name.as_slice(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => {
                let next =
                    descend(here.try_clone().map_err(|_| failed(Errno::MFILE))?, name).map_err(failed)?;
                levels.push(next);
            }
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(())
}

/// An open directory, its name in the one above, and what in it is still to be removed.
type Level = (OwnedFd, Vec<u8>, Vec<Vec<u8>>);

fn descend(dir: OwnedFd, name: Vec<u8>) -> Result<Level, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = openat(&dir, name.as_slice(), flags, Mode::empty())?;
    let rest = names(&inner)?;
    Ok((inner, name, rest))
}

fn gone(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
