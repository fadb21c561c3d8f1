//! Comparing, copying and hashing file content without expanding holes on disk.
use rustix::fd::BorrowedFd;
use rustix::fs::SeekFrom;
use rustix::io::{Errno, pread, pwrite};
use sha2::{Digest, Sha256};

const CHUNK: usize = 128 << 10;

/// Whether two files hold the same bytes.
pub(crate) fn same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0u64;
    loop {
        let n = fill(a, &mut left, at)?;
        let m = fill(b, &mut right, at)?;
        if n != m || left.get(..n) != right.get(..m) {
            return Ok(false);
        }
        if n < CHUNK {
            return Ok(true);
        }
        at += n as u64;
    }
}

/// Reads a file of at most `most` bytes; a longer one is `None`.
pub(crate) fn read_small(fd: BorrowedFd<'_>, most: u64) -> Result<Option<Vec<u8>>, Errno> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let size = usize::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
    if size > most {
        return Ok(None);
    }
    let mut bytes = vec![0; size.saturating_add(1)];
    let n = fill(fd, &mut bytes, 0)?;
    bytes.truncate(n);
    Ok((n <= most).then_some(bytes))
}

/// Copies `size` bytes, holes as holes, and returns the SHA-256 of the content.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Result<[u8; 32], Errno> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0u64;
    while at < size {
        let (start, end) = extent(from, at, size)?;
        zeros(&mut hash, start - at);
        at = start;
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let part = buffer.get_mut(..want).unwrap_or_default();
            if fill(from, part, at)? != want {
                // It became shorter while being copied; nothing else should be writing here.
                return Err(Errno::STALE);
            }
            hash.update(&*part);
            write_all(to, part, at)?;
            at += want as u64;
        }
    }
    rustix::fs::ftruncate(to, size)?;
    Ok(hash.finalize().into())
}

/// The next stretch of data at or after `at`, cut at `size`. Where the file system knows no holes, all is data.
fn extent(fd: BorrowedFd<'_>, at: u64, size: u64) -> Result<(u64, u64), Errno> {
    let start = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
        Ok(start) => start.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok((at, size)),
        Err(e) => return Err(e),
    };
    let end = rustix::fs::seek(fd, SeekFrom::Hole(start)).unwrap_or(size);
    Ok((start, end.clamp(start, size)))
}

fn zeros(hash: &mut Sha256, mut count: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let n = count.min(ZEROS.len() as u64);
        hash.update(ZEROS.get(..usize::try_from(n).unwrap_or(0)).unwrap_or_default());
        count -= n;
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(fd: BorrowedFd<'_>, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..)
        && !rest.is_empty()
    {
        match pread(fd, rest, at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match pwrite(fd, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => {
                bytes = bytes.get(n..).unwrap_or_default();
                at += n as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
