//! Layers laid over each other, looked at as overlayfs will show them, without mounting them.
use crate::alone::is_whiteout;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, fgetxattr, fstat, open, openat, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// As many links are followed as the kernel follows.
const MAX_LINKS: usize = 40;
/// Deepest path, in parts, once links are followed.
const MAX_PARTS: usize = 4096;

/// Layers, opened, the uppermost first.
#[derive(Debug)]
pub struct Stack {
    layers: Vec<OwnedFd>,
}

/// What is at a place of the stack.
#[derive(Debug)]
pub struct Found {
    /// Where it is, every link followed, beginning with a slash.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileType,
    /// Its mode, without the bits that say what it is.
    pub mode: u32,
    /// Where it points if it is a link.
    pub link: Option<PathBuf>,
}

/// One place: every layer that has a part in it, the uppermost first; more than one only for a directory.
struct Place {
    name: Vec<u8>,
    parts: Vec<OwnedFd>,
}

impl Stack {
    /// Opens layers, the uppermost first.
    pub fn open(layers: &[impl AsRef<Path>]) -> Result<Stack, Errno> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let layers = layers.iter().map(|l| open(l.as_ref(), flags, Mode::empty()));
        Ok(Stack {
            layers: layers.collect::<Result<_, _>>()?,
        })
    }

    /// Kind and mode of what is at a path; a link on the way leads nowhere.
    pub(crate) fn plain(&self, path: &str) -> Result<Option<(FileType, u32)>, Errno> {
        let mut held: Option<Vec<OwnedFd>> = None;
        for part in split(path.as_bytes()) {
            match enter(held.as_ref().unwrap_or(&self.layers), &part)? {
                Some(parts) => held = Some(parts),
                None => return Ok(None),
            }
        }
        let top = held.as_ref().and_then(|parts| parts.first());
        let stat = top.map(fstat).transpose()?;
        Ok(stat.map(|s| (FileType::from_raw_mode(s.st_mode), s.st_mode & 0o7777)))
    }

    /// What is at a path, links on the way followed as if the stack were the root. `last`: one at its end, too.
    pub fn find(&self, path: &Path, last: bool) -> Result<Option<Found>, Errno> {
        let mut left: VecDeque<Vec<u8>> = split(path.as_os_str().as_bytes()).collect();
        let mut way: Vec<Place> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop_front() {
            if part == b".." {
                way.pop();
                continue;
            }
            if way.len() + left.len() > MAX_PARTS {
                return Err(Errno::NAMETOOLONG);
            }
            let above = way.last().map_or(&self.layers, |p| &p.parts);
            let Some(parts) = enter(above, &part)? else {
                return Ok(None);
            };
            let place = Place { name: part, parts };
            if (last || !left.is_empty()) && place.kind()? == FileType::Symlink {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let to = place.link()?;
                if to.is_absolute() {
                    way.clear();
                }
                for part in split(to.as_os_str().as_bytes())
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                {
                    left.push_front(part);
                }
                continue;
            }
            way.push(place);
        }
        let path = way
            .iter()
            .flat_map(|p| [&b"/"[..], p.name.as_slice()])
            .collect::<Vec<_>>()
            .concat();
        let root = Place {
            name: Vec::new(),
            parts: Vec::new(),
        };
        let place = way.last().unwrap_or(&root);
        let kind = place.kind()?;
        Ok(Some(Found {
            path: if path.is_empty() {
                "/".into()
            } else {
                PathBuf::from(std::ffi::OsString::from_vec(path))
            },
            kind,
            mode: place
                .parts
                .first()
                .map_or(Ok(0o755), |f| fstat(f).map(|s| s.st_mode & 0o7777))?,
            link: (kind == FileType::Symlink).then(|| place.link()).transpose()?,
        }))
    }
}

impl Place {
    fn kind(&self) -> Result<FileType, Errno> {
        let top = self.parts.first();
        top.map_or(Ok(FileType::Directory), |f| {
            fstat(f).map(|s| FileType::from_raw_mode(s.st_mode))
        })
    }

    fn link(&self) -> Result<PathBuf, Errno> {
        let top = self.parts.first().ok_or(Errno::NOENT)?;
        let to = readlinkat(top, "", Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(to.into_bytes())))
    }
}

fn split(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let parts = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".");
    parts.map(<[u8]>::to_vec)
}

/// The same name in each layer, down to the first that ends it.
fn enter(layers: &[OwnedFd], name: &[u8]) -> Result<Option<Vec<OwnedFd>>, Errno> {
    let mut out: Vec<OwnedFd> = Vec::new();
    for layer in layers {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match openat(layer, OsStr::from_bytes(name), flags, Mode::empty()) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(e) => return Err(e),
        };
        if is_whiteout(&found)? {
            break;
        }
        let is_dir = FileType::from_raw_mode(fstat(&found)?.st_mode).is_dir();
        if !is_dir && !out.is_empty() {
            break; // beneath a directory, a file is the end of it
        }
        let end = !is_dir || opaque(&found)?;
        out.push(found);
        if end {
            break;
        }
    }
    Ok((!out.is_empty()).then_some(out))
}

fn opaque(dir: &OwnedFd) -> Result<bool, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(dir, ".", flags, Mode::empty())?;
    let mut value = [0u8; 4];
    match fgetxattr(&dir, "user.overlay.opaque", &mut value[..]) {
        Ok(n) => Ok(value.get(..n) == Some(b"y")),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(e) => Err(e),
    }
}
