//! Images in one directory each, named by digest, complete or not there: for those whose layers cannot be laid over each other.
use crate::blob::{Blob, Descriptor};
use crate::config::ImageConfig;
use crate::error::ImageError;
use crate::layer::apply;
use crate::layout::{Manifest, manifest};
use crate::limits::Limits;
use crate::own::Own;
use crate::used::Used;
use qila_workspace::remove_tree;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fsync, mkdirat, open, openat, renameat, syncfs};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

const UNFINISHED: &str = "unfinished";
pub(crate) const ROOT: &str = "rootfs";
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// An unpacked image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its root file system.
    pub root: PathBuf,
    /// Digest of its manifest.
    pub digest: String,
    /// The `PATH` that it wants its programs to be looked for in.
    pub path: Option<String>,
    /// Whether it was unpacked just now.
    pub fresh: bool,
    /// Devices, fifos and sockets that were left out, if it was.
    pub skipped: u64,
}

/// Unpacks the image of a layout, of this name where it has several, into the store; or finds it there.
pub fn unpack(layout: &Path, name: Option<&str>, store: &Path) -> Result<Image, ImageError> {
    unpack_within(layout, name, store, &Limits::default())
}

/// The same, with limits of one's own.
pub fn unpack_within(
    layout: &Path,
    name: Option<&str>,
    store: &Path,
    limits: &Limits,
) -> Result<Image, ImageError> {
    let at = |path: &Path| format!("opening {}", path.display());
    let dir = open(layout, DIRECTORY | OFlags::PATH, Mode::empty()).map_err(ImageError::errno(at(layout)))?;
    let (descriptor, manifest) = manifest(&dir, name)?;
    merge(&dir, &descriptor, &manifest, store, limits)
}

/// Directory of the store in which a merged image is.
pub(crate) fn place(hex: &str) -> String {
    format!("sha256-{hex}")
}

/// Unpacks an image whose blobs are beneath `dir`, or finds it.
pub(crate) fn merge(
    dir: &OwnedFd,
    descriptor: &Descriptor,
    manifest: &Manifest,
    store: &Path,
    limits: &Limits,
) -> Result<Image, ImageError> {
    let at = |path: &Path| format!("opening {}", path.display());
    let place = place(descriptor.hex()?);
    let mut image = Image {
        root: store.join(&place).join(ROOT),
        digest: descriptor.digest.clone(),
        path: ImageConfig::read(dir, manifest)?.path().map(str::to_owned),
        fresh: false,
        skipped: 0,
    };
    match mkdirat(CWD, store, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(ImageError::errno(format!("making {}", store.display()))(e)),
    }
    let flags = DIRECTORY | OFlags::NOFOLLOW;
    let store_dir = open(store, flags, Mode::empty()).map_err(ImageError::errno(at(store)))?;
    let there = || openat(&store_dir, place.as_str(), flags, Mode::empty()).is_ok();
    // Complete or not there: only who unpacks waits for who unpacks.
    if there() {
        return Ok(image);
    }
    let _lock = lock(&store_dir).map_err(ImageError::errno("locking the images"))?;
    if there() {
        return Ok(image);
    }
    // What an unpacking that was cut off has left.
    remove_tree(&store_dir, OsStr::new(UNFINISHED))
        .map_err(|e| ImageError::format(UNFINISHED, format!("it cannot be removed: {e}")))?;
    let prepared = prepare(&store_dir).map_err(ImageError::errno("making the image's directory"))?;
    let mut used = Used::new(limits);
    let layers = manifest.layers.iter().enumerate();
    let unpacked = layers.map(|(i, layer)| {
        let blob = Blob::open(dir, layer)?;
        let mut own = Own::new(prepared.as_fd()).map_err(ImageError::errno("looking at the new root"))?;
        apply(
            prepared.as_fd(),
            blob,
            &layer.media_type,
            i + 1,
            &mut used,
            &mut own,
        )
        .map(drop)
    });
    let finished = unpacked.collect::<Result<(), _>>().and_then(|()| {
        syncfs(&prepared)
            .and_then(|()| renameat(&store_dir, UNFINISHED, &store_dir, place.as_str()))
            .and_then(|()| fsync(&store_dir))
            .map_err(ImageError::errno("keeping the image"))
    });
    if let Err(e) = finished {
        let _ = remove_tree(&store_dir, OsStr::new(UNFINISHED)); // else the next one does
        return Err(e);
    }
    (image.fresh, image.skipped) = (true, used.skipped);
    Ok(image)
}

fn lock(store: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(store, "lock", flags, Mode::from_raw_mode(0o600))?;
    rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
    Ok(file)
}

fn prepare(store: &OwnedFd) -> Result<OwnedFd, Errno> {
    mkdirat(store, UNFINISHED, Mode::RWXU)?;
    let root = format!("{UNFINISHED}/{ROOT}");
    mkdirat(store, root.as_str(), Mode::from_raw_mode(0o755))?;
    openat(store, root.as_str(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}
