//! One layer, applied over those before it.
use crate::blob::Blob;
use crate::error::ImageError;
use crate::limits::{Bounded, Limits};
use crate::own::Own;
use crate::place::{clear, directory, kind, parts};
use crate::tar::{Archive, Entry, Kind};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, linkat, mkdirat, openat, symlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What all layers of an image have used, and may.
#[derive(Debug)]
pub(crate) struct Used {
    limits: Limits,
    bytes: u64,
    entries: u64,
    /// Bytes that may still be read from layers.
    left: u64,
    /// Devices, fifos and sockets, which are not made.
    pub skipped: u64,
}

impl Used {
    pub(crate) fn new(limits: &Limits) -> Used {
        Used {
            limits: *limits,
            bytes: 0,
            entries: 0,
            left: limits.bytes.saturating_mul(2),
            skipped: 0,
        }
    }
}

/// Applies a layer, and verifies it to its last byte.
pub(crate) fn apply(
    root: BorrowedFd<'_>,
    mut blob: Blob,
    media_type: &str,
    number: usize,
    used: &mut Used,
) -> Result<(), ImageError> {
    let most = used.limits.layer(blob.size());
    let decoder: Box<dyn Read + '_> = if media_type.ends_with("gzip") {
        Box::new(flate2::read::MultiGzDecoder::new(&mut blob))
    } else if media_type.ends_with("zstd") {
        let decoder = ruzstd::decoding::StreamingDecoder::new(&mut blob);
        Box::new(decoder.map_err(|e| ImageError::format(media_type, e.to_string()))?)
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
    let mut layer = Layer {
        root,
        archive: Archive::new(BufReader::with_capacity(
            1 << 16,
            Bounded::new(decoder, most, &mut left),
        )),
        number,
        own: Own::new(root).map_err(ImageError::errno("looking at the new root"))?,
        used,
    };
    while let Some(entry) = layer.next()? {
        let done = layer.entry(&entry);
        done.map_err(|why| layer.refused(&entry.path, why))?;
    }
    drop(layer);
    used.left = left;
    blob.verify()
}

struct Layer<'a, R> {
    root: BorrowedFd<'a>,
    archive: Archive<R>,
    number: usize,
    own: Own,
    used: &'a mut Used,
}

impl<R: Read> Layer<'_, R> {
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

    fn entry(&mut self, entry: &Entry) -> Result<(), String> {
        let Some(path) = parts(&entry.path) else {
            return Err("a path that leads upward".into());
        };
        let Some((name, above)) = path.split_last() else {
            return Ok(()); // the root itself
        };
        let text = |e: Errno| e.to_string();
        self.used.entries += 1;
        let dir = self.directory(above).map_err(text)?;
        if self.used.entries > self.used.limits.entries {
            return Err(format!("more than {} entries", self.used.limits.entries));
        }
        if *name == OPAQUE {
            return self.own.opaque(&dir).map_err(text);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return match hidden {
                b"" | b"." | b".." => Ok(()),
                hidden => self.own.hide(&dir, hidden).map_err(text),
            };
        }
        self.make(entry, &dir, name).map_err(|e| e.to_string())?;
        self.own.made(&dir, name).map_err(text)
    }

    fn directory(&mut self, parts: &[&[u8]]) -> Result<OwnedFd, Errno> {
        let Layer { root, own, used, .. } = self;
        directory(*root, parts, &mut |made| {
            used.entries += 1; // as much as if an entry named it
            own.fresh(made)
        })
    }

    fn make(&mut self, entry: &Entry, dir: &OwnedFd, name: &[u8]) -> std::io::Result<()> {
        let at = OsStr::from_bytes(name);
        if entry.kind == Kind::Special {
            self.used.skipped += 1;
            return Ok(());
        }
        let there = kind(dir, name)?;
        let keep = entry.kind == Kind::Directory && there.is_some_and(|k| k.is_dir());
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
                if !keep {
                    self.own.fresh(&made)?;
                }
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
                let why = format!("the image unpacks to more than {} bytes", self.used.limits.bytes);
                return Err(std::io::Error::other(why));
            }
            file.write_all(buffer.get(..n).unwrap_or(&[]))?;
        }
        // No set-id bit and no owner of the image's has a meaning here.
        fchmod(&file, Mode::from_raw_mode(entry.mode & 0o777 | 0o400))?;
        Ok(())
    }

    fn link(&mut self, to: &[u8], dir: &OwnedFd, at: &OsStr) -> std::io::Result<()> {
        let wrong = |why: &str| std::io::Error::other(why.to_owned());
        let path = parts(to).ok_or_else(|| wrong("a hard link that leads upward"))?;
        let (name, above) = path.split_last().ok_or_else(|| wrong("a hard link to nothing"))?;
        let from = self.directory(above)?;
        if !kind(&from, name)?.is_some_and(|k| k.is_file()) {
            return Err(wrong("a hard link to what is no file"));
        }
        linkat(from.as_fd(), OsStr::from_bytes(name), dir, at, AtFlags::empty())?;
        Ok(())
    }
}
