//! One difference between the workspace and what the agent left.
use rustix::fs::{FileType, Stat};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What kind of entry a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, pipe or socket.
    Special,
}

/// Seconds and nanoseconds of a file time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Time {
    pub(crate) sec: i64,
    pub(crate) nsec: u64,
}

/// Which inode it is and when it last changed, to tell whether it is still the one that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) mtime: Time,
    pub(crate) ctime: Time,
}

/// A file, directory or symbolic link as it is on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its kind.
    pub kind: NodeKind,
    /// Apparent size in bytes; zero for directories.
    pub size: u64,
    /// Permission bits (`0o777`); set-id and sticky bits are dropped.
    pub mode: u32,
    /// Where a symbolic link points.
    pub target: Option<OsString>,
    pub(crate) id: Identity,
}

impl Node {
    pub(crate) fn of(stat: &Stat) -> Node {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => NodeKind::File,
            FileType::Directory => NodeKind::Directory,
            FileType::Symlink => NodeKind::Symlink,
            _ => NodeKind::Special,
        };
        Node {
            kind,
            size: if kind == NodeKind::Directory {
                0
            } else {
                u64::try_from(stat.st_size).unwrap_or(0)
            },
            mode: stat.st_mode & crate::os::PERMISSIONS,
            target: None,
            id: Identity {
                dev: stat.st_dev,
                ino: stat.st_ino,
                mtime: Time {
                    sec: stat.st_mtime,
                    nsec: stat.st_mtime_nsec,
                },
                ctime: Time {
                    sec: stat.st_ctime,
                    nsec: stat.st_ctime_nsec,
                },
            },
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("type", &self.kind)?;
        map.serialize_entry("mode", &format!("{:04o}", self.mode))?;
        if self.kind == NodeKind::File {
            map.serialize_entry("size", &self.size)?;
        }
        if let Some(target) = &self.target {
            bytes_entry(&mut map, "target", "target_hex", target)?;
        }
        map.end()
    }
}

/// How an entry differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// A file's content, or a symbolic link's target, is another (the mode may be too).
    Modified,
    /// Only the permission bits are other ones.
    ModeChanged,
    /// A file became a directory, a symbolic link a file, and so on.
    TypeChanged,
    /// It is gone.
    Deleted,
}

/// One difference between the workspace as it is now and what the agent left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Path relative to the workspace, in raw bytes.
    pub path: PathBuf,
    /// How it differs.
    pub kind: ChangeKind,
    /// In the workspace now.
    pub before: Option<Node>,
    /// As the agent left it.
    pub after: Option<Node>,
    /// Why applying it may run code on the host without anybody asking for it; see [`crate::RISKS`].
    pub risk: Option<&'static str>,
    /// The kernel noted that this entry was copied up from one that existed in the workspace.
    pub(crate) copied_up: bool,
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        path_entry(&mut map, &self.path)?;
        map.serialize_entry("change", &self.kind)?;
        map.serialize_entry("before", &self.before)?;
        map.serialize_entry("after", &self.after)?;
        if let Some(risk) = self.risk {
            map.serialize_entry("risk", risk)?;
        }
        map.end()
    }
}

/// Why an entry that the agent left is never applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// A device, pipe or socket.
    Special,
    /// Directories inside one another beyond [`crate::Limits::depth`].
    TooDeep,
    /// A path beyond [`crate::Limits::path`].
    PathTooLong,
    /// A file beyond [`crate::Limits::file`].
    TooLarge,
    /// The agent took away the owner's right to read it.
    Unreadable,
}

impl SkipReason {
    /// The reason in words.
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::Special => "special file",
            SkipReason::TooDeep => "too many directories inside one another",
            SkipReason::PathTooLong => "path too long",
            SkipReason::TooLarge => "file too large",
            SkipReason::Unreadable => "not readable",
        }
    }
}

/// An entry that the agent left and that is reported but never applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Path relative to the workspace, in raw bytes.
    pub path: PathBuf,
    /// Why.
    pub reason: SkipReason,
}

impl Serialize for Skipped {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        path_entry(&mut map, &self.path)?;
        map.serialize_entry("skipped", &self.reason)?;
        map.end()
    }
}

/// All that differs, sorted by path with parents before what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// What [`crate::RunLayer::apply`] would carry over.
    pub entries: Vec<Change>,
    /// What it would leave behind.
    pub skipped: Vec<Skipped>,
}

/// A path in JSON: `path` as text, and where the bytes are no text, also `path_hex`.
pub(crate) fn path_entry<M: SerializeMap>(map: &mut M, path: &Path) -> Result<(), M::Error> {
    bytes_entry(map, "path", "path_hex", path.as_os_str())
}

fn bytes_entry<M: SerializeMap>(map: &mut M, text: &str, hex: &str, value: &OsStr) -> Result<(), M::Error> {
    map.serialize_entry(text, &value.to_string_lossy())?;
    if value.to_str().is_none() {
        map.serialize_entry(hex, &to_hex(value.as_bytes()))?;
    }
    Ok(())
}

/// Lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
            let _ = write!(out, "{b:02x}");
            out
        })
}

/// The bytes of a hexadecimal text, if it is one.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}
