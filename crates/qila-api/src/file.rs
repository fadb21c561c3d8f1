//! Files in a sandbox.
use std::fmt;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A socket, a pipe or a device.
    Other,
}

/// A file, a directory, or whatever is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, the last part of its path.
    pub name: String,
    /// Its absolute path inside.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// What it is behind the link, if it is one and leads somewhere.
    pub target_kind: Option<EntryKind>,
    /// Where the link points, if it is one.
    pub target: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Name of its owner.
    pub owner: String,
    /// Name of its group.
    pub group: String,
    /// When it was changed last, in Unix milliseconds.
    pub modified_ms: i64,
}

/// The bytes of a file that is being read.
pub struct Reader {
    /// What is read.
    pub entry: Entry,
    /// Its bytes, from the wanted offset on.
    pub bytes: Pin<Box<dyn AsyncRead + Send>>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.entry.path)
    }
}

/// Bytes for a file that is to be written.
pub type Writer = Pin<Box<dyn AsyncRead + Send>>;

/// Both directions of a connection to a port.
pub trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Create,
    /// It was written.
    Write,
    /// It was removed.
    Remove,
    /// It was renamed, or moved away.
    Rename,
    /// Its permissions were changed.
    Chmod,
}

/// Something happened beneath a watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEvent {
    /// Path of the file, relative to the watched directory.
    pub name: String,
    /// What happened.
    pub change: Change,
}

/// A directory under watch. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    /// What happens. It closes when the directory or the sandbox is gone. More than the reader takes is not kept: the watch ends.
    pub events: mpsc::Receiver<FileEvent>,
}
