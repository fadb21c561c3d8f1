//! Blobs onto the disk: hashed on the way, as long as the manifest says and no longer, gone on from where it ended.
use super::client::Client;
use super::error::PullError;
use crate::blob::Descriptor;
use crate::error::ImageError;
use crate::layer::hex as to_hex;
use crate::shelf::named;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

const FOLDER: &str = "blobs/sha256";
/// Fewest bytes that must come in so much time, unless they are the last: whoever waits for the same blob waits for this.
const FEWEST: u64 = 1 << 20;
const WINDOW: Duration = Duration::from_secs(60);

/// How fast a blob comes.
struct Pace {
    since: Instant,
    /// Bytes that were here then.
    had: u64,
}

impl Pace {
    /// Whether it is too slow.
    fn is_slow(&mut self, now: Instant, have: u64, size: u64) -> bool {
        if now.duration_since(self.since) < WINDOW {
            return false;
        }
        let slow = have.saturating_sub(self.had) < FEWEST && size.saturating_sub(self.had) > FEWEST;
        (self.since, self.had) = (now, have);
        slow
    }
}

/// Fetches a blob into the store; bytes that came over the network. Whoever calls holds the blob's claim.
pub(super) async fn fetch(
    client: &mut Client<'_>,
    store: &OwnedFd,
    blob: &Descriptor,
    progress: &mut dyn FnMut(u64),
    stop: &dyn Fn() -> bool,
) -> Result<u64, PullError> {
    let hex = blob.hex()?;
    let (whole, part) = (format!("{FOLDER}/{hex}"), format!("{FOLDER}/{hex}.part"));
    let io = |e| ImageError::io(whole.clone())(e);
    if let Ok(file) = openat(
        store,
        whole.as_str(),
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        // It was verified before it had this name, and is again when it is unpacked.
        if File::from(file).metadata().map_err(io)?.len() == blob.size {
            return Ok(0);
        }
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(store, part.as_str(), flags, Mode::from_raw_mode(0o600));
    let mut file = File::from(opened.map_err(ImageError::errno(part.clone()))?);
    let (mut hash, mut have) = resume(&mut file, blob.size).map_err(io)?;
    let mut came = 0u64;
    if have < blob.size || blob.size == 0 {
        let (mut answer, partial) = client.blob(&blob.digest, have).await?;
        if !partial && have > 0 {
            file.set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)).map(drop))
                .map_err(io)?;
            (hash, have) = (Sha256::new(), 0);
        }
        let mut pace = Pace {
            since: Instant::now(),
            had: have,
        };
        while let Some(piece) = answer.piece().await? {
            if stop() {
                return Err(ImageError::Stopped.into());
            }
            have += piece.len() as u64;
            if have > blob.size {
                drop_part(store, &part);
                return Err(wrong(blob, format!("it has more than {} bytes", blob.size)));
            }
            file.write_all(&piece).map_err(io)?;
            hash.update(&piece);
            came += piece.len() as u64;
            progress(have);
            if pace.is_slow(Instant::now(), have, blob.size) {
                return Err(answer.failed("less than 1 MiB came in a minute"));
            }
        }
    }
    if have < blob.size {
        // What there is stays: the next one goes on from here.
        return Err(PullError::Short {
            digest: blob.digest.clone(),
            have,
            size: blob.size,
        });
    }
    let digest = named(&to_hex(&hash.finalize()));
    if digest != blob.digest {
        drop_part(store, &part);
        return Err(wrong(blob, format!("it has the digest {digest}")));
    }
    renameat(store, part.as_str(), store, whole.as_str()).map_err(ImageError::errno(whole.clone()))?;
    Ok(came)
}

fn wrong(blob: &Descriptor, why: String) -> PullError {
    PullError::Content {
        what: blob.digest.clone(),
        why,
    }
}

fn drop_part(store: &OwnedFd, part: &str) {
    let _ = unlinkat(store, part, AtFlags::empty()); // else a sweep does
}

/// Hashes what an earlier attempt has left; nothing if that is too much.
fn resume(file: &mut File, size: u64) -> std::io::Result<(Sha256, u64)> {
    let (mut hash, mut have) = (Sha256::new(), 0u64);
    if file.metadata()?.len() > size {
        file.set_len(0)?;
    }
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((hash, have));
        }
        hash.update(buffer.get(..n).unwrap_or(&[]));
        have += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_is_less_than_a_mebibyte_in_a_minute_before_the_end() {
        let since = Instant::now();
        let at = |seconds| since + Duration::from_secs(seconds);
        let mut pace = Pace { since, had: 5 };
        let size = 10 << 20;
        for (seconds, have, slow) in [
            (59, 6, false),
            (60, 5 + FEWEST, false),
            (119, 6 + FEWEST, false),
            (121, 4 + 2 * FEWEST, true),
            (181, size - FEWEST, false),
            (300, size - FEWEST + 1, false),
        ] {
            assert_eq!(pace.is_slow(at(seconds), have, size), slow, "{seconds}");
        }
    }
}
