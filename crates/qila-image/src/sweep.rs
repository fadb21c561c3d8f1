//! Taking away what no image needs.
use crate::error::ImageError;
use crate::lock::{How, attempt, wait};
use crate::merged;
use crate::records::{self, Named, Record};
use crate::store::Store;
use qila_workspace::remove_tree;
use rustix::fs::{Dir, Mode, OFlags, openat};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// How long a sweep waits for those who add images.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a sweep took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Images.
    pub images: usize,
    /// Layers, and images in one directory.
    pub directories: usize,
    /// Blobs, whole or in part.
    pub blobs: usize,
}

impl Store {
    /// Takes away every image but those with these digests and those that somebody holds, every layer that none of these needs,
    /// and what was left unfinished. `Busy`: images are being added.
    pub fn sweep(&self, keep: &[String]) -> Result<Swept, ImageError> {
        let _alone = wait(&self.dir, "users", How::Exclusive, PATIENCE, &|| false)?;
        let _merging = wait(&self.dir, "lock", How::Exclusive, PATIENCE, &|| false)?;
        let kept: HashSet<&str> = keep.iter().filter_map(|d| d.strip_prefix("sha256:")).collect();
        let mut swept = Swept::default();
        let (mut images, mut layers) = (HashSet::new(), HashSet::new());
        for name in self.names("images")? {
            let path = format!("images/{name}");
            let Some(file) = records::open(&self.dir, &path)? else {
                continue;
            };
            let held =
                attempt(file, How::Exclusive).map_err(ImageError::errno("looking who holds an image"))?;
            // One that cannot be read keeps nothing.
            let record = records::read::<Record>(&self.dir, &path).ok().flatten();
            match record {
                Some(record) if held.is_none() || kept.contains(name.as_str()) => {
                    layers.extend(record.layers);
                    images.insert(name);
                }
                _ => {
                    self.remove("images", &name)?;
                    swept.images += 1;
                }
            }
        }
        for name in self.names("refs")? {
            let named = records::read::<Named>(&self.dir, &format!("refs/{name}"))
                .ok()
                .flatten();
            let manifest = named.as_ref().and_then(|n| n.manifest.strip_prefix("sha256:"));
            if !manifest.is_some_and(|m| images.contains(m)) {
                self.remove("refs", &name)?;
            }
        }
        for name in self.names("known")? {
            let diff = records::read::<String>(&self.dir, &format!("known/{name}"))
                .ok()
                .flatten();
            if !diff.is_some_and(|d| layers.contains(&d)) {
                self.remove("known", &name)?;
            }
        }
        for name in self.names("layers")? {
            if !layers.contains(&name) {
                self.remove("layers", &name)?;
                swept.directories += 1;
            }
        }
        let places: HashSet<String> = images.iter().map(|hex| merged::place(hex)).collect();
        for name in self.names(".")? {
            if name.starts_with("sha256-") && !places.contains(&name) {
                self.remove(".", &name)?;
                swept.directories += 1;
            }
        }
        for name in self.names("blobs/sha256")? {
            self.remove("blobs/sha256", &name)?;
            swept.blobs += 1;
        }
        // Whoever holds or waits for one of the locks is a user, of whom there is none.
        for folder in ["tmp", "slots"] {
            for name in self.names(folder)? {
                self.remove(folder, &name)?;
            }
        }
        Ok(swept)
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, ImageError> {
        let failed = |e| ImageError::errno(format!("listing {folder} of the images"))(e);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = openat(&self.dir, folder, flags, Mode::empty()).map_err(failed)?;
        let mut out = Vec::new();
        for entry in Dir::read_from(&dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_bytes().to_vec();
            // Nothing that the store makes has another name.
            if let Ok(name) = OsString::from_vec(name).into_string()
                && name != "."
                && name != ".."
            {
                out.push(name);
            }
        }
        Ok(out)
    }

    fn remove(&self, folder: &str, name: &str) -> Result<(), ImageError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let what = format!("{folder}/{name}");
        let dir = openat(&self.dir, folder, flags, Mode::empty()).map_err(ImageError::errno(what.clone()))?;
        let removed = remove_tree(&dir, OsStr::new(name)).map(drop);
        removed.map_err(|e| ImageError::Store {
            what,
            why: format!("it cannot be removed: {e}"),
        })
    }
}
