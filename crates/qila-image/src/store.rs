//! Where images are kept: their layers, one directory each, and what is known of them.
use crate::blob::Descriptor;
use crate::config::ImageConfig;
use crate::error::ImageError;
use crate::layout::{Manifest, manifest};
use crate::limits::Limits;
use crate::lock::{How, Lock, PATIENCE, attempt, wait};
use crate::merged;
use crate::records::{self, Record};
use crate::shelf::{About, Shelved, TREE, claim, named, shelve};
use crate::stack::Stack;
use crate::used::Used;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// Most places that are looked at to know whether an image's layers can be laid over each other.
const MAX_LOOKS: usize = 500_000;
/// Folders of a store. `empty` has nothing in it: a layer that must be shown through overlayfs is laid over it.
pub(crate) const FOLDERS: [&str; 9] = [
    "layers",
    "known",
    "images",
    "refs",
    "blobs",
    "blobs/sha256",
    "slots",
    "tmp",
    "empty",
];

/// A directory in which images are kept. Several processes may use one at the same time.
#[derive(Debug)]
pub struct Store {
    pub(crate) path: PathBuf,
    pub(crate) dir: OwnedFd,
    pub(crate) limits: Limits,
}

/// An image, ready to be shown. As long as this value lives, no sweep takes the image away.
#[derive(Debug)]
pub struct Layered {
    /// Directories to lay over each other, the uppermost first. A single one is shown as it is; several need overlayfs with the
    /// option `userxattr`.
    pub lower: Vec<PathBuf>,
    /// Digest of its manifest.
    pub digest: String,
    /// How it wants to be run.
    pub config: ImageConfig,
    /// Layers that were unpacked just now.
    pub fresh: usize,
    _held: Lock,
}

/// What came of laying an image's layers over each other.
pub(crate) enum Assembled {
    Image(Box<Layered>),
    /// Blobs that are in the store as layers are needed after all, since the image has to be unpacked into one directory.
    NeedsAll,
}

impl Store {
    /// Opens a store, and makes it if it is not there.
    pub fn open(path: &Path, limits: Limits) -> Result<Store, ImageError> {
        let made = |result: Result<(), Errno>, what: &Path| match result {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(ImageError::errno(format!("making {}", what.display()))(e)),
        };
        made(mkdirat(CWD, path, Mode::RWXU), path)?;
        let dir = open(path, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
            .map_err(ImageError::errno(format!("opening {}", path.display())))?;
        for folder in FOLDERS {
            let bits = if folder == "empty" { 0o755 } else { 0o700 };
            made(
                mkdirat(&dir, folder, Mode::from_raw_mode(bits)),
                &path.join(folder),
            )?;
        }
        Ok(Store {
            path: path.to_owned(),
            dir,
            limits,
        })
    }

    /// Takes the image of a layout, of this name where it has several, into the store; or finds it there.
    pub fn layout(&self, layout: &Path, name: Option<&str>) -> Result<Layered, ImageError> {
        let at = format!("opening {}", layout.display());
        let from = open(layout, DIRECTORY | OFlags::PATH, Mode::empty()).map_err(ImageError::errno(at))?;
        let (descriptor, manifest) = manifest(&from, name)?;
        let _user = self.user(&|| false)?;
        match self.assemble(&from, &descriptor, &manifest, true, &|| false)? {
            Assembled::Image(image) => Ok(*image),
            Assembled::NeedsAll => Err(ImageError::format(
                &descriptor.digest,
                "its layers cannot be laid over each other",
            )),
        }
    }

    /// The image whose manifest has this digest, if it is there.
    pub fn image(&self, digest: &str) -> Result<Option<Layered>, ImageError> {
        let _user = self.user(&|| false)?;
        self.kept(digest.strip_prefix("sha256:").unwrap_or(digest))
    }

    /// Keeps sweeps away while something is added.
    pub(crate) fn user(&self, stop: &dyn Fn() -> bool) -> Result<Lock, ImageError> {
        wait(&self.dir, "users", How::Shared, PATIENCE, stop)
    }

    pub(crate) fn kept(&self, hex: &str) -> Result<Option<Layered>, ImageError> {
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ImageError::format(hex, "only sha256 digests are read"));
        }
        let path = format!("images/{hex}");
        let Some(file) = records::open(&self.dir, &path)? else {
            return Ok(None);
        };
        let held = attempt(file, How::Shared).map_err(ImageError::errno("holding the image"))?;
        let held = held.ok_or(ImageError::Busy)?;
        let Some(record) = records::read::<Record>(&self.dir, &path)? else {
            return Ok(None);
        };
        // A record whose layers somebody took away is no image.
        let there = |place: &String| {
            openat(&self.dir, place.as_str(), DIRECTORY | OFlags::PATH, Mode::empty()).is_ok()
        };
        if !record.lower.iter().all(there) {
            return Ok(None);
        }
        Ok(Some(Layered {
            lower: record.lower.iter().map(|l| self.path.join(l)).collect(),
            digest: record.digest,
            config: record.config,
            fresh: 0,
            _held: held,
        }))
    }

    /// Unpacks what is not there yet of an image whose blobs are beneath `from`; `all`: every one of them.
    pub(crate) fn assemble(
        &self,
        from: &OwnedFd,
        descriptor: &Descriptor,
        manifest: &Manifest,
        all: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Assembled, ImageError> {
        let hex = descriptor.hex()?;
        let config = ImageConfig::read(from, manifest)?;
        if let Some(image) = self.kept(hex)? {
            return Ok(Assembled::Image(Box::new(image)));
        }
        let mut used = Used::new(&self.limits);
        let (mut layers, mut fresh) = (Vec::new(), 0);
        for (i, blob) in manifest.layers.iter().enumerate() {
            if stop() {
                return Err(ImageError::Stopped);
            }
            let Shelved::Yes { about, fresh: new } = shelve(&self.dir, from, blob, i + 1, &mut used, stop)?
            else {
                return self.merge(from, descriptor, manifest, config, all, stop);
            };
            let said = config.diff_ids.get(i);
            if let Some(said) = said.filter(|said| **said != named(&about.diff)) {
                return Err(ImageError::Digest { digest: said.clone() });
            }
            fresh += usize::from(new);
            layers.push(*about);
        }
        let Some(lower) = self.pile(&layers)? else {
            return self.merge(from, descriptor, manifest, config, all, stop);
        };
        let record = Record {
            digest: descriptor.digest.clone(),
            layers: layers.into_iter().map(|l| l.diff).collect(),
            lower,
            config,
        };
        self.record(hex, &record, fresh, stop).map(Assembled::Image)
    }

    fn merge(
        &self,
        from: &OwnedFd,
        descriptor: &Descriptor,
        manifest: &Manifest,
        config: ImageConfig,
        all: bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Assembled, ImageError> {
        if !all {
            return Ok(Assembled::NeedsAll);
        }
        let image = merged::merge(from, descriptor, manifest, &self.path, &self.limits)?;
        let hex = descriptor.hex()?;
        let record = Record {
            digest: image.digest,
            layers: Vec::new(),
            lower: vec![format!("{}/{}", merged::place(hex), merged::ROOT)],
            config,
        };
        let fresh = if image.fresh { manifest.layers.len() } else { 0 };
        self.record(hex, &record, fresh, stop).map(Assembled::Image)
    }

    fn record(
        &self,
        hex: &str,
        record: &Record,
        fresh: usize,
        stop: &dyn Fn() -> bool,
    ) -> Result<Box<Layered>, ImageError> {
        // A record that somebody holds must not be replaced by another file.
        let _claim = claim(&self.dir, hex, stop)?;
        if let Some(kept) = self.kept(hex)? {
            return Ok(Box::new(Layered { fresh, ..kept }));
        }
        records::write(&self.dir, "images", hex, record)?;
        let kept = self.kept(hex)?.ok_or_else(|| ImageError::Store {
            what: record.digest.clone(),
            why: "it vanished".into(),
        })?;
        Ok(Box::new(Layered { fresh, ..kept }))
    }

    /// Which layers are shown, the uppermost first, of those given from the lowest on. None: laid over each other they would not
    /// be what they are when one is unpacked over the other.
    fn pile(&self, layers: &[About]) -> Result<Option<Vec<String>>, ImageError> {
        let place = |layer: &About| format!("layers/{}/{TREE}", layer.diff);
        let looked = |e| ImageError::errno("looking at the layers")(e);
        let (mut shown, mut looks): (Vec<String>, usize) = (Vec::new(), 0);
        for (i, layer) in layers.iter().enumerate() {
            if !shown.is_empty() && !layer.shape.implied.is_empty() {
                let below: Vec<PathBuf> = shown.iter().rev().map(|l| self.path.join(l)).collect();
                let below = Stack::open(&below).map_err(looked)?;
                let named: HashSet<&String> = layer.shape.named.iter().collect();
                for path in &layer.shape.implied {
                    looks = looks.saturating_add(path.split('/').count().saturating_mul(shown.len()));
                    if looks > MAX_LOOKS {
                        return Ok(None);
                    }
                    let found = below.plain(path).map_err(looked)?;
                    let same = found
                        .is_none_or(|(kind, mode)| kind.is_dir() && (mode == 0o755 || named.contains(path)));
                    if !same {
                        return Ok(None);
                    }
                }
            }
            if layer.shape.bottom {
                shown.clear();
            }
            // Of a layer that comes twice only the upper one can be seen; overlayfs takes no directory twice.
            let again = layers
                .get(i + 1..)
                .unwrap_or(&[])
                .iter()
                .any(|l| l.diff == layer.diff);
            if !layer.empty && !again {
                shown.push(place(layer));
            }
        }
        shown.reverse();
        let whiteouts = layers.iter().any(|l| l.shape.whiteouts);
        if shown.is_empty() || (shown.len() == 1 && whiteouts) {
            shown.push("empty".into());
        }
        Ok(Some(shown))
    }
}
