//! Export in the layout of C2SP tlog-tiles, for third-party tools.
use crate::dir::Dir;
use crate::error::LogError;
use crate::frame::MAX_PAYLOAD;
use crate::key;
use crate::merkle::{Frontier, Hash, leaf_hash};
use crate::note::Checkpoint;
use crate::reader::Reader;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Hashes in a full tile, and entries in a full bundle.
const WIDTH: usize = 256;
/// Levels of tiles: 8 bits of the size each.
const LEVELS: usize = 8;

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Number of records.
    pub records: u64,
    /// Files of tiles and entry bundles.
    pub files: u64,
    /// The signed checkpoint that covers them.
    pub checkpoint: String,
    /// The key that signed it, as a C2SP verifier key.
    pub key: String,
}

/// Writes `checkpoint`, `tile/<level>/<n>` and `tile/entries/<n>` into a new or empty directory.
///
/// Refuses a log whose records are not those its last checkpoint signs. Torn tails are left out.
pub fn export_tiles(dir: BorrowedFd<'_>, out_dir: &Path) -> Result<Exported, LogError> {
    let io = |e| LogError::io("write the export", e);
    let key = key::public(&Dir::new(dir)?)?;
    std::fs::create_dir_all(out_dir).map_err(io)?;
    if std::fs::read_dir(out_dir).map_err(io)?.next().is_some() {
        return Err(io(std::io::Error::new(
            std::io::ErrorKind::AlreadyExists,
            "the directory is not empty",
        )));
    }
    let mut tiles = Tiles::new(out_dir);
    let mut tree = Frontier::default();
    let mut last = None;
    let mut reader = Reader::open(dir)?;
    while let Some(group) = reader.group()? {
        for entry in group.entries {
            let hash = leaf_hash(&entry.json);
            tree.push(hash);
            tiles.entry(&entry.json, hash).map_err(io)?;
        }
        last = Some(group.note);
    }
    tiles.finish().map_err(io)?;
    let note = last
        .and_then(|note| String::from_utf8(note).ok())
        .unwrap_or_default();
    let signed = key.open(&note).map_err(|source| LogError::Key { source })?;
    if signed
        != (Checkpoint {
            size: tree.size(),
            root: tree.root(),
        })
    {
        let why = "records are not those its last checkpoint signs";
        return Err(LogError::Corrupt {
            why,
            index: 0,
            offset: 0,
        });
    }
    tiles.file(Path::new("checkpoint"), note.as_bytes()).map_err(io)?;
    Ok(Exported {
        records: tree.size(),
        files: tiles.files,
        checkpoint: note,
        key: key.to_string(),
    })
}

/// Tiles that are being filled: one bundle of entries and one tile per level, so memory is bounded.
struct Tiles<'p> {
    out: &'p Path,
    bundle: Vec<u8>,
    levels: Vec<Level>,
    files: u64,
}

#[derive(Default)]
struct Level {
    /// Number of the tile that is being filled.
    number: u64,
    hashes: Vec<Hash>,
}

impl<'p> Tiles<'p> {
    fn new(out: &'p Path) -> Tiles<'p> {
        Tiles {
            out,
            bundle: Vec::new(),
            levels: Vec::new(),
            files: 0,
        }
    }

    fn entry(&mut self, record: &[u8], hash: Hash) -> std::io::Result<()> {
        let length = u16::try_from(record.len().min(MAX_PAYLOAD)).unwrap_or(u16::MAX);
        self.bundle.extend_from_slice(&length.to_be_bytes());
        self.bundle.extend_from_slice(record);
        self.push(hash)
    }

    /// Adds a leaf; a full tile's root is a hash of the next level.
    fn push(&mut self, leaf: Hash) -> std::io::Result<()> {
        let mut hash = leaf;
        for index in 0..LEVELS {
            if self.levels.len() == index {
                self.levels.push(Level::default());
            }
            let Some(level) = self.levels.get_mut(index) else {
                break;
            };
            level.hashes.push(hash);
            if level.hashes.len() < WIDTH {
                break;
            }
            let number = level.number;
            level.number += 1;
            let full = std::mem::take(&mut level.hashes);
            if index == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                self.put("entries", number, WIDTH, &bundle)?;
            }
            self.put(&index.to_string(), number, WIDTH, full.as_flattened())?;
            let mut root = Frontier::default();
            full.into_iter().for_each(|hash| root.push(hash));
            hash = root.root();
        }
        Ok(())
    }

    /// Writes what is not full.
    fn finish(&mut self) -> std::io::Result<()> {
        for (index, level) in std::mem::take(&mut self.levels).into_iter().enumerate() {
            let width = level.hashes.len();
            if width == 0 {
                continue;
            }
            if index == 0 {
                let bundle = std::mem::take(&mut self.bundle);
                self.put("entries", level.number, width, &bundle)?;
            }
            self.put(
                &index.to_string(),
                level.number,
                width,
                level.hashes.as_flattened(),
            )?;
        }
        Ok(())
    }

    fn put(&mut self, kind: &str, number: u64, width: usize, bytes: &[u8]) -> std::io::Result<()> {
        let mut path = PathBuf::from("tile").join(kind).join(tile_name(number));
        if width < WIDTH {
            path.as_mut_os_string().push(".p");
            path.push(width.to_string());
        }
        self.file(&path, bytes)?;
        self.files += 1;
        Ok(())
    }

    fn file(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.out.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut file: File = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)
    }
}

/// A tile's number as a path: groups of three digits, all but the last with an `x` before them.
fn tile_name(number: u64) -> String {
    let mut name = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1000);
        rest /= 1000;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tile_names_are_those_of_the_specification() {
        assert_eq!(tile_name(0), "000");
        assert_eq!(tile_name(273), "273");
        assert_eq!(tile_name(1_234_067), "x001/x234/067");
    }
}
