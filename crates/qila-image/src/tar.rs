//! Tar archives, entry by entry: ustar, with the long names of GNU and PAX, and nothing more.
use std::io::{Error, ErrorKind, Read, Result};

const BLOCK: usize = 512;
/// Longest extended header, and longest path, in bytes.
const MAX_EXTENDED: u64 = 64 * 1024;
/// Longest path in bytes.
const MAX_PATH: usize = 4096;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    /// A device, a fifo, a socket: nothing that is made.
    Special,
}

/// One entry; for a file its contents follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub size: u64,
}

fn wrong<T>(why: &str) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidData, why.to_owned()))
}

/// Reads an archive from its beginning to its end.
pub(crate) struct Archive<R> {
    from: R,
    /// Bytes of the present entry's contents that were not read, and of its padding.
    left: u64,
    padding: u64,
}

/// What extended headers say of the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(from: R) -> Archive<R> {
        Archive {
            from,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extended = Extended::default();
        // Each entry may have a few extended headers.
        for _ in 0..8 {
            self.skip()?;
            let mut block = [0u8; BLOCK];
            if !self.block(&mut block)? {
                return Ok(None);
            }
            checksum(&block)?;
            let header = Header(&block);
            let size = header.number(124, 12)?;
            self.left = size;
            self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
            match header.kind() {
                b'L' => extended.path = Some(text(self.small()?)),
                b'K' => extended.link = Some(text(self.small()?)),
                b'x' => pax(&self.small()?, &mut extended)?,
                b'g' => drop(self.small()?),
                b'S' => return wrong("a sparse file"),
                kind => return self.entry(&header, kind, extended).map(Some),
            }
        }
        wrong("extended headers without end")
    }

    fn entry(&mut self, header: &Header<'_>, kind: u8, extended: Extended) -> Result<Entry> {
        let link = extended
            .link
            .unwrap_or_else(|| text(header.bytes(157, 100).to_vec()));
        let path = extended.path.unwrap_or_else(|| header.path());
        if path.len() > MAX_PATH || link.len() > MAX_PATH {
            return wrong("a path over 4,096 bytes");
        }
        if path.contains(&0) || link.contains(&0) {
            return wrong("a NUL byte in a path");
        }
        let kind = match kind {
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'5' => Kind::Directory,
            b'3' | b'4' | b'6' => Kind::Special,
            _ => return wrong("an entry of an unknown kind"),
        };
        if kind == Kind::File
            && let Some(size) = extended.size
        {
            self.left = size;
            self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        }
        Ok(Entry {
            path,
            mode: u32::try_from(header.number(100, 8)? & 0o7777).unwrap_or(0),
            size: self.left,
            kind,
        })
    }

    /// Contents of the present entry.
    pub(crate) fn contents(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..most).filter(|p| !p.is_empty()) else {
            return Ok(0);
        };
        match self.from.read(part)? {
            0 => wrong("the archive ends within a file"),
            n => {
                self.left -= n as u64;
                Ok(n)
            }
        }
    }

    /// What comes after the end.
    pub(crate) fn rest(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.from.read(buffer)
    }

    fn small(&mut self) -> Result<Vec<u8>> {
        if self.left > MAX_EXTENDED {
            return wrong("an extended header over 64 KiB");
        }
        let mut bytes = Vec::new();
        let mut buffer = [0u8; 4096];
        loop {
            match self.contents(&mut buffer)? {
                0 => return Ok(bytes),
                n => bytes.extend(buffer.get(..n).unwrap_or(&[])),
            }
        }
    }

    fn skip(&mut self) -> Result<()> {
        let mut rest = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        let mut buffer = [0u8; 8192];
        while rest > 0 {
            let most = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
            match self.from.read(buffer.get_mut(..most).unwrap_or(&mut []))? {
                0 => return wrong("the archive ends within an entry"),
                n => rest -= n as u64,
            }
        }
        Ok(())
    }

    /// A header block. False at the end: a block of zeros, or no more bytes.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        let mut got = 0;
        while got < BLOCK {
            match self.from.read(block.get_mut(got..).unwrap_or(&mut []))? {
                0 if got == 0 => return Ok(false),
                0 => return wrong("the archive ends within a header"),
                n => got += n,
            }
        }
        Ok(block.iter().any(|b| *b != 0))
    }
}

struct Header<'a>(&'a [u8; BLOCK]);

impl Header<'_> {
    fn bytes(&self, at: usize, length: usize) -> &[u8] {
        self.0.get(at..at + length).unwrap_or(&[])
    }

    fn kind(&self) -> u8 {
        self.bytes(156, 1).first().copied().unwrap_or(0)
    }

    fn number(&self, at: usize, length: usize) -> Result<u64> {
        let field = self.bytes(at, length);
        match field.split_first() {
            // Base 256, for what octal digits cannot hold.
            Some((0x80, rest)) => rest.iter().try_fold(0u64, |n, b| {
                n.checked_mul(256)
                    .and_then(|n| n.checked_add(u64::from(*b)))
                    .map_or_else(|| wrong("a number over 64 bits"), Ok)
            }),
            Some((first, _)) if *first >= 0x80 => wrong("a negative number"),
            _ => {
                let digits = text(field.to_vec());
                let digits = digits.trim_ascii();
                digits.iter().try_fold(0u64, |n, b| match b {
                    b'0'..=b'7' => Ok(n << 3 | u64::from(b - b'0')),
                    _ => wrong("a number that is not octal"),
                })
            }
        }
    }

    fn path(&self) -> Vec<u8> {
        let name = text(self.bytes(0, 100).to_vec());
        let prefix = text(self.bytes(345, 155).to_vec());
        // GNU's own header has other things there.
        if self.bytes(257, 6) == b"ustar\0" && !prefix.is_empty() {
            [prefix.as_slice(), b"/", &name].concat()
        } else {
            name
        }
    }
}

/// Up to the first NUL.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|b| *b == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn checksum(block: &[u8; BLOCK]) -> Result<()> {
    let said = Header(block).number(148, 8)?;
    let sum = block.iter().enumerate();
    let sum: u64 = sum
        .map(|(i, b)| {
            if (148..156).contains(&i) {
                32
            } else {
                u64::from(*b)
            }
        })
        .sum();
    if sum == said {
        Ok(())
    } else {
        wrong("a header whose checksum is wrong")
    }
}

/// Records of the form `LENGTH KEY=VALUE\n`.
fn pax(mut bytes: &[u8], extended: &mut Extended) -> Result<()> {
    while !bytes.is_empty() {
        let space = bytes.iter().position(|b| *b == b' ').filter(|at| *at < 8);
        let length = space.and_then(|at| std::str::from_utf8(bytes.get(..at)?).ok()?.parse::<usize>().ok());
        let (Some(space), Some(length)) = (space, length) else {
            return wrong("a malformed PAX header");
        };
        let Some((record, rest)) = bytes.split_at_checked(length) else {
            return wrong("a malformed PAX header");
        };
        let record = record.get(space + 1..).and_then(|r| r.strip_suffix(b"\n"));
        let Some((key, value)) = record.and_then(|r| r.split_at_checked(r.iter().position(|b| *b == b'=')?))
        else {
            return wrong("a malformed PAX header");
        };
        let value = value.get(1..).unwrap_or(&[]);
        match key {
            b"path" => extended.path = Some(value.to_vec()),
            b"linkpath" => extended.link = Some(value.to_vec()),
            b"size" => {
                let size = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
                extended.size = Some(size.map_or_else(|| wrong("a malformed size"), Ok)?);
            }
            _ if key.starts_with(b"GNU.sparse") => return wrong("a sparse file"),
            _ => {} // times, owners and attributes are left out
        }
        bytes = rest;
    }
    Ok(())
}

/// Feeds hostile bytes to the reader.
pub fn fuzz(bytes: &[u8]) {
    let mut archive = Archive::new(bytes);
    let mut buffer = [0u8; 100];
    for _ in 0..10_000 {
        match archive.next() {
            Ok(Some(entry)) => {
                assert!(entry.path.len() <= MAX_PATH);
                while archive.contents(&mut buffer).is_ok_and(|n| n > 0) {}
            }
            Ok(None) | Err(_) => return,
        }
    }
}
