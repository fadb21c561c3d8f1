//! Looking at files: every path begins at the sandbox's root, and no link of the kernel's own is followed.
use super::work::{Failed, Line, said};
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use qila_wire::served::{Answer, Entry, Kind};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, openat2, readlinkat, statat};
use rustix::io::Errno;

/// Most entries of one list.
const ENTRIES: usize = 200_000;
/// Most levels.
const DEPTH: u32 = 64;
/// Longest path.
const PATH: usize = 4096;

/// A path from the root on, without empty parts and `.`; a relative one begins at the home directory, as does `~`.
pub(super) fn absolute(path: &[u8], home: &[u8]) -> Result<Vec<u8>, Failed> {
    let wrong = || ("reading the path", Errno::INVAL);
    if path.contains(&0) || path.len() > PATH {
        return Err(wrong());
    }
    let (start, rest): (&[u8], &[u8]) = match path {
        [b'/', ..] => (b"", path),
        [b'~'] => (home, b""),
        [b'~', b'/', rest @ ..] => (home, rest),
        _ => (home, path),
    };
    let mut out = Vec::new();
    for part in start.split(|b| *b == b'/').chain(rest.split(|b| *b == b'/')) {
        if part.is_empty() || part == b"." {
            continue;
        }
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    Ok(out)
}

/// Opens a path beneath the root. The links of `/proc`, which lead to what other processes hold, are not followed.
pub(super) fn open(path: &[u8], flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let root = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // With `PATH` nothing is opened that could become a terminal, and the kernel takes no further flags.
    let more = match flags.contains(OFlags::PATH) {
        true => OFlags::CLOEXEC,
        false => OFlags::CLOEXEC | OFlags::NOCTTY,
    };
    openat2(&root, path, flags | more, mode, how)
}

fn kind(mode: u32) -> Kind {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

/// What is at a path; a link is not followed.
pub(super) fn entry(path: &[u8]) -> Result<Entry, Failed> {
    let look = || {
        let fd = open(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        let stat = statat(&fd, c"", AtFlags::EMPTY_PATH)?;
        let kind_here = kind(stat.st_mode);
        let (mut target, mut target_kind) = (None, None);
        if kind_here == Kind::Link {
            target = Some(readlinkat(&fd, c"", Vec::new())?.into_bytes());
            target_kind = open(path, OFlags::PATH, Mode::empty())
                .and_then(|fd| statat(&fd, c"", AtFlags::EMPTY_PATH))
                .ok()
                .map(|s| kind(s.st_mode));
        }
        Ok(Entry {
            path: path.to_vec(),
            kind: kind_here,
            target,
            target_kind,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            modified_ms: millis(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        })
    };
    look().map_err(|e| ("looking at the path", e))
}

fn millis(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

/// Names in a directory.
pub(super) fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut space = vec![MaybeUninit::<u8>::uninit(); 32 * 1024];
    let mut entries = RawDir::new(dir, &mut space);
    let mut out = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            out.push(name);
        }
        if out.len() > ENTRIES {
            return Err(Errno::OVERFLOW);
        }
    }
    Ok(out)
}

/// Tells what is beneath a directory, so many levels deep.
pub(super) fn list(line: &Line, path: &[u8], depth: u32) -> Result<(), Failed> {
    let failed = |e| ("listing the directory", e);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut rest = vec![(path.to_vec(), 1u32)];
    let mut seen = 0usize;
    while let Some((here, level)) = rest.pop() {
        let names = match open(&here, flags, Mode::empty()).and_then(|dir| names(&dir)) {
            Ok(names) => names,
            // It was there a moment ago, or may not be looked into: what else there is is told all the same.
            Err(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::LOOP) if level > 1 => continue,
            Err(e) => return Err(failed(e)),
        };
        for name in names {
            seen += 1;
            if seen > ENTRIES {
                return Err(failed(Errno::OVERFLOW));
            }
            let slash: &[u8] = if here.ends_with(b"/") { b"" } else { b"/" };
            let path = [here.as_slice(), slash, &name].concat();
            let Ok(entry) = entry(&path) else { continue };
            if entry.kind == Kind::Directory && level < depth.min(DEPTH) {
                rest.push((path, level + 1));
            }
            said(line.say(&Answer::Entry(entry)))?;
        }
    }
    said(line.say(&Answer::Done))
}

/// The directory above, and the name in it.
pub(super) fn split(path: &[u8]) -> Result<(&[u8], &[u8]), Failed> {
    let at = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    let name = path.get(at + 1..).unwrap_or(&[]);
    if name.is_empty() || name == b".." {
        return Err(("reading the path", Errno::INVAL));
    }
    let above = path.get(..at).unwrap_or(&[]);
    Ok((if above.is_empty() { b"/" } else { above }, name))
}

/// Opens the directory above a path, and answers the name in it.
pub(super) fn above(path: &[u8]) -> Result<(OwnedFd, &[u8]), Failed> {
    let (above, name) = split(path)?;
    let dir = open(above, OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    Ok((dir.map_err(|e| ("opening the directory", e))?, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_at_the_root_or_at_home() {
        let of = |p: &str| {
            absolute(p.as_bytes(), b"/home/user").map(|p| alloc::string::String::from_utf8(p).unwrap())
        };
        assert_eq!(of("a//b/./c").unwrap(), "/home/user/a/b/c");
        assert_eq!(of("/etc/").unwrap(), "/etc");
        assert_eq!(of("~/x").unwrap(), "/home/user/x");
        assert_eq!(of("~").unwrap(), "/home/user");
        assert_eq!(of("").unwrap(), "/home/user");
        assert_eq!(of("/").unwrap(), "/");
        assert!(of("a\0b").is_err());
    }
}
