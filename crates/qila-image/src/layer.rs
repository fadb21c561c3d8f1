//! One layer: applied over those before it, or by itself.
use crate::blob::Blob;
use crate::error::ImageError;
use crate::limits::Bounded;
use crate::place::{clear, directory, kind, parts};
use crate::tar::{Archive, Entry, Kind};
use crate::used::{Used, more_bytes, more_entries};
use crate::zstd::Zstd;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, linkat, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What is remembered of a layer while it is unpacked, so that its whiteouts are for the layers beneath it.
pub(crate) trait Marks {
    /// Whether the layers beneath are not there, so that a place may be another one than they would make it.
    const ALONE: bool;
    /// A directory was made that no entry named.
    fn implied(&mut self, dir: &OwnedFd) -> Result<(), Errno>;
    /// A directory was made for an entry, or `kept`: it was there.
    fn fresh(&mut self, dir: &OwnedFd, kept: bool) -> Result<(), Errno>;
    /// An entry of this layer is at a name.
    fn made(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<(), Errno>;
    /// A whiteout of one name.
    fn hide(&mut self, dir: &OwnedFd, name: &[u8]) -> Result<(), Errno>;
    /// An opaque whiteout: all that the lower layers have in a directory.
    fn opaque(&mut self, dir: &OwnedFd) -> Result<(), Errno>;
}

/// Why an entry is not made.
enum Why {
    Refused(String),
    /// What it means depends on the layers beneath, which are not there.
    Below,
}

impl From<Errno> for Why {
    fn from(errno: Errno) -> Why {
        Why::Refused(errno.to_string())
    }
}

impl From<std::io::Error> for Why {
    fn from(error: std::io::Error) -> Why {
        Why::Refused(error.to_string())
    }
}

/// Hashes what is decompressed: the layer's other name.
struct Hashed<'a, R> {
    from: R,
    hash: &'a mut Sha256,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.hash.update(buffer.get(..n).unwrap_or(&[]));
        Ok(n)
    }
}

/// Applies a layer, and verifies it to its last byte. The SHA-256 of what it decompresses to, in hexadecimal; none if it means
/// nothing without the layers beneath it.
pub(crate) fn apply<M: Marks>(
    root: BorrowedFd<'_>,
    mut blob: Blob,
    media_type: &str,
    number: usize,
    used: &mut Used,
    marks: &mut M,
) -> Result<Option<String>, ImageError> {
    let most = used.limits.layer(blob.size());
    let decoder: Box<dyn Read + '_> = if media_type.ends_with("gzip") {
        Box::new(flate2::read::MultiGzDecoder::new(&mut blob))
    } else if media_type.ends_with("zstd") {
        Box::new(Zstd::new(&mut blob).map_err(ImageError::io(media_type))?)
    } else if media_type.ends_with("tar") {
        Box::new(&mut blob)
    } else {
        return Err(ImageError::format(
            media_type,
            "layers are tar, tar+gzip or tar+zstd",
        ));
    };
    // Also what is skipped costs time to unpack.
    let mut left = used.left;
    let mut hash = Sha256::new();
    let hashed = Hashed {
        from: Bounded::new(decoder, most, &mut left),
        hash: &mut hash,
    };
    let mut layer = Layer {
        root,
        archive: Archive::new(BufReader::with_capacity(1 << 16, hashed)),
        number,
        marks,
        used,
    };
    let whole = layer.all();
    drop(layer);
    used.left = left;
    match (whole, blob.verify()) {
        // What is wrong with bytes that are not the image's is of no interest.
        (_, Err(e @ ImageError::Digest { .. })) | (Err(e), _) => Err(e),
        (Ok(false), _) => Ok(None),
        (Ok(true), verified) => verified.map(|()| Some(hex(&hash.finalize()))),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

struct Layer<'a, R, M> {
    root: BorrowedFd<'a>,
    archive: Archive<R>,
    number: usize,
    marks: &'a mut M,
    used: &'a mut Used,
}

impl<R: Read, M: Marks> Layer<'_, R, M> {
    fn refused(&self, path: &[u8], why: String) -> ImageError {
        ImageError::Entry {
            layer: self.number,
            path: String::from_utf8_lossy(path).escape_debug().take(200).collect(),
            why,
        }
    }

    fn next(&mut self) -> Result<Option<Entry>, ImageError> {
        let entry = self.archive.next();
        entry.map_err(|e| self.refused(b"-", e.to_string()))
    }

    /// Every entry, and what follows them. False: it means nothing without the layers beneath it.
    fn all(&mut self) -> Result<bool, ImageError> {
        while let Some(entry) = self.next()? {
            match self.entry(&entry) {
                Ok(()) => {}
                Err(Why::Refused(why)) => return Err(self.refused(&entry.path, why)),
                Err(Why::Below) => return Ok(false),
            }
        }
        self.rest().map(|()| true)
    }

    /// Reads what follows the archive's end: it is part of what is hashed.
    fn rest(&mut self) -> Result<(), ImageError> {
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            let read = self.archive.rest(&mut buffer);
            if read.map_err(|e| self.refused(b"-", e.to_string()))? == 0 {
                return Ok(());
            }
        }
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Why> {
        let Some(path) = parts(&entry.path) else {
            return Err(Why::Refused("a path that leads upward".into()));
        };
        let Some((name, above)) = path.split_last() else {
            return Ok(()); // the root itself
        };
        self.used.entries += 1;
        let dir = self.directory(above)?;
        if self.used.entries > self.used.limits.entries {
            return Err(Why::Refused(more_entries(self.used.limits.entries)));
        }
        if *name == OPAQUE {
            return Ok(self.marks.opaque(&dir)?);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return match hidden {
                b"" | b"." | b".." => Ok(()),
                hidden => Ok(self.marks.hide(&dir, hidden)?),
            };
        }
        self.make(entry, &dir, name)?;
        Ok(self.marks.made(&dir, name)?)
    }

    fn directory(&mut self, parts: &[&[u8]]) -> Result<OwnedFd, Why> {
        let Layer {
            root, marks, used, ..
        } = self;
        let found = directory(*root, parts, &mut |made| {
            used.entries += 1; // as much as if an entry named it
            marks.implied(made)
        });
        found.map_err(|errno| match (M::ALONE, errno) {
            // Elsewhere, perhaps, by a link of a layer beneath.
            (true, Errno::EXIST | Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Why::Below,
            (_, errno) => errno.into(),
        })
    }

    fn make(&mut self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> Result<(), Why> {
        let at = OsStr::from_bytes(name);
        if entry.kind == Kind::Special {
            self.used.skipped += 1;
            return Ok(());
        }
        let there = kind(dir, name)?;
        let keep = entry.kind == Kind::Directory && there.is_some_and(|k| k.is_dir());
        // A name that is a directory and another thing within one layer: what the first entry did to the layers beneath would be lost.
        if M::ALONE && there.is_some_and(|k| k.is_dir() != (entry.kind == Kind::Directory)) {
            return Err(Why::Below);
        }
        if !keep {
            clear(dir, name)?;
        }
        match &entry.kind {
            Kind::Directory => {
                // Owners can always look in, and take it away.
                let bits = Mode::from_raw_mode(entry.mode & 0o777 | 0o700);
                if !keep {
                    mkdirat(dir, at, bits)?;
                }
                let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
                let made = openat(dir, at, flags, Mode::empty())?;
                self.marks.fresh(&made, keep)?;
                fchmod(made, bits)?;
            }
            Kind::File => self.file(entry, dir, at)?,
            Kind::Symlink(to) => symlinkat(OsStr::from_bytes(to), dir, at)?,
            Kind::HardLink(to) => self.link(to, dir, at)?,
            Kind::Special => {}
        }
        Ok(())
    }

    fn file(&mut self, entry: &Entry, dir: &OwnedFd, at: &OsStr) -> std::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(dir, at, flags, Mode::from_raw_mode(0o600))?);
        let mut buffer = vec![0u8; 64 * 1024];
        loop {
            let n = self.archive.contents(&mut buffer)?;
            if n == 0 {
                break;
            }
            self.used.bytes = self.used.bytes.saturating_add(n as u64);
            if self.used.bytes > self.used.limits.bytes {
                return Err(std::io::Error::other(more_bytes(self.used.limits.bytes)));
            }
            file.write_all(buffer.get(..n).unwrap_or(&[]))?;
        }
        // No set-id bit and no owner of the image's has a meaning here.
        fchmod(&file, Mode::from_raw_mode(entry.mode & 0o777 | 0o400))?;
        Ok(())
    }

    fn link(&mut self, to: &[u8], dir: &OwnedFd, at: &OsStr) -> Result<(), Why> {
        let wrong = |why: &str| Why::Refused(why.to_owned());
        let path = parts(to).ok_or_else(|| wrong("a hard link that leads upward"))?;
        let (name, above) = path.split_last().ok_or_else(|| wrong("a hard link to nothing"))?;
        let from = self.directory(above)?;
        match kind(&from, name)? {
            Some(kind) if kind.is_file() => {}
            None if M::ALONE => return Err(Why::Below),
            _ => return Err(wrong("a hard link to what is no file")),
        }
        linkat(from.as_fd(), OsStr::from_bytes(name), dir, at, AtFlags::empty())?;
        Ok(())
    }
}
