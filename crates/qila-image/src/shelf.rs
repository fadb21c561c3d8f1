//! One layer in the store: unpacked by itself, once, whoever asks and however many at the same time.
use crate::alone::{Alone, Shape};
use crate::blob::{Blob, Descriptor};
use crate::error::ImageError;
use crate::layer::{apply, hex as to_hex};
use crate::lock::{How, PATIENCE, wait};
use crate::records;
use crate::used::{Share, Used};
use qila_workspace::remove_tree;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fsync, mkdirat, openat, renameat, syncfs};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;

pub(crate) const TREE: &str = "tree";
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What is known of a layer that is in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct About {
    /// SHA-256 of what it decompresses to, in hexadecimal.
    pub diff: String,
    pub shape: Shape,
    pub share: Share,
    /// Whether nothing at all is in it.
    pub empty: bool,
}

/// Whether a layer could be unpacked by itself.
pub(crate) enum Shelved {
    Yes {
        about: Box<About>,
        fresh: bool,
    },
    /// It means nothing without the layers beneath it, or the file system cannot hold its whiteouts.
    No,
}

/// Finds a layer by the digest of its blob, without the blob.
pub(crate) fn find(store: &OwnedFd, blob: &Descriptor) -> Result<Option<About>, ImageError> {
    let Some(diff) = records::read::<String>(store, &format!("known/{}", blob.hex()?))? else {
        return Ok(None);
    };
    about(store, &diff)
}

fn about(store: &OwnedFd, diff: &str) -> Result<Option<About>, ImageError> {
    if diff.len() != 64 || !diff.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ImageError::Store {
            what: "known".into(),
            why: "no digest".into(),
        });
    }
    records::read(store, &format!("layers/{diff}/about.json"))
}

/// Holds the lock under which a blob is fetched and unpacked. Each has one of its own, so that nobody waits for another's; whoever
/// is alone with the store may take the file away.
pub(crate) fn claim(
    store: &OwnedFd,
    hex: &str,
    stop: &dyn Fn() -> bool,
) -> Result<crate::lock::Lock, ImageError> {
    wait(store, &slot(hex), How::Exclusive, PATIENCE, stop)
}

/// The file of that lock.
pub(crate) fn slot(hex: &str) -> String {
    format!("slots/{hex}")
}

/// Unpacks a layer whose blob is beneath `from`, or finds it.
pub(crate) fn shelve(
    store: &OwnedFd,
    from: &OwnedFd,
    blob: &Descriptor,
    number: usize,
    used: &mut Used,
    stop: &dyn Fn() -> bool,
) -> Result<Shelved, ImageError> {
    let hex = blob.hex()?;
    let known = |used: &mut Used, about: About| {
        used.add(&about.share, number)?;
        let about = Box::new(about);
        Ok(Shelved::Yes { about, fresh: false })
    };
    if let Some(about) = find(store, blob)? {
        return known(used, about);
    }
    let _claim = claim(store, hex, stop)?;
    if let Some(about) = find(store, blob)? {
        return known(used, about);
    }
    let name = format!("layer-{hex}");
    let temporary =
        openat(store, "tmp", DIRECTORY, Mode::empty()).map_err(ImageError::errno("opening the store"))?;
    let remove = || remove_tree(&temporary, OsStr::new(&name)).map(drop);
    // What an unpacking that was cut off has left.
    remove().map_err(|e| ImageError::Store {
        what: name.clone(),
        why: format!("it cannot be removed: {e}"),
    })?;
    let done = unpack(store, &temporary, &name, from, blob, number, used);
    if !matches!(done, Ok(Some(_))) {
        let _ = remove(); // else the next one does
    }
    let Some(about) = done? else {
        return Ok(Shelved::No);
    };
    records::write(store, "known", hex, &about.diff)?;
    let about = Box::new(about);
    Ok(Shelved::Yes { about, fresh: true })
}

fn unpack(
    store: &OwnedFd,
    temporary: &OwnedFd,
    name: &str,
    from: &OwnedFd,
    blob: &Descriptor,
    number: usize,
    used: &mut Used,
) -> Result<Option<About>, ImageError> {
    let tree = format!("{name}/{TREE}");
    let prepared = mkdirat(temporary, name, Mode::RWXU)
        .and_then(|()| mkdirat(temporary, tree.as_str(), Mode::from_raw_mode(0o755)))
        .and_then(|()| openat(temporary, tree.as_str(), DIRECTORY, Mode::empty()))
        .map_err(ImageError::errno("making the layer's directory"))?;
    let mut marks = Alone::default();
    let before = used.clone();
    let media_type = &blob.media_type;
    let applied = apply(
        prepared.as_fd(),
        Blob::open(from, blob)?,
        media_type,
        number,
        used,
        &mut marks,
    )?;
    let Some(diff) = applied else {
        *used = before;
        return Ok(None);
    };
    let finished = marks.finish(prepared.as_fd());
    let Some(shape) = finished.map_err(ImageError::errno("writing the layer's whiteouts"))? else {
        *used = before;
        return Ok(None);
    };
    let about = About {
        empty: is_empty(&prepared).map_err(ImageError::errno("looking at the layer"))? && !shape.bottom,
        share: used.since(&before),
        shape,
        diff,
    };
    records::write(store, &format!("tmp/{name}"), "about.json", &about)?;
    let place = format!("layers/{}", about.diff);
    let kept = syncfs(&prepared).and_then(|()| match renameat(temporary, name, store, place.as_str()) {
        // Two blobs that decompress to the same.
        Err(Errno::EXIST | Errno::NOTEMPTY) => remove_tree(temporary, OsStr::new(name))
            .map(drop)
            .map_err(|_| Errno::IO),
        other => other,
    });
    kept.and_then(|()| fsync(openat(store, "layers", DIRECTORY, Mode::empty())?))
        .map_err(ImageError::errno("keeping the layer"))?;
    Ok(Some(about))
}

fn is_empty(dir: &OwnedFd) -> Result<bool, Errno> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A digest with its algorithm.
pub(crate) fn named(hex: &str) -> String {
    format!("sha256:{hex}")
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    to_hex(&sha2::Sha256::digest(bytes))
}
