//! What is said between a node and the guest of a sandbox that outlives commands: a channel for each thing that is asked.
//!
//! A channel is a stream of bytes: a connection to the guest's socket. It carries frames: a length (four bytes, little-endian,
//! without itself), then the message in postcard form. The first frame is an [`Ask`]; what follows depends on it. A frame over
//! [`MAX_FRAME`], or one with bytes left over, ends the channel and nothing else.
use crate::{Accounting, Landlock, Limit, Size, WireError};
use alloc::string::String;
use alloc::vec::Vec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Largest frame in bytes, its length not counted.
pub const MAX_FRAME: usize = 256 * 1024;
/// Most bytes of a stream in one frame.
pub const PIECE: usize = 64 * 1024;
/// Bytes of a program's output that are kept until they are taken, and as many of what nobody listens to.
pub const KEPT: usize = 64 * 1024;

/// What surrounds every program of a sandbox: told once, before anything is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cage {
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// Landlock rules: for the guest itself, so that all programs are of one domain and may signal each other.
    pub landlock: Landlock,
    /// Seccomp filter: instructions in the kernel's layout, eight bytes each.
    pub filter: Vec<u8>,
    /// Processors; empty means any.
    pub cpus: Vec<u32>,
    /// Memory accounting by the guest itself.
    pub accounting: Option<Accounting>,
    /// Where relative paths begin.
    pub home: Vec<u8>,
}

/// What a channel is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Start a program. [`Answer::Started`] or [`Answer::Failed`]; then its output comes, and [`Say`] may follow.
    Exec(Exec),
    /// Come back to a program. The same answers.
    Attach {
        /// Its process id.
        pid: u32,
        /// From this byte of its output on; none: from now on.
        from: Option<u64>,
    },
    /// Say one thing to a program. [`Answer::Done`].
    Tell {
        /// Its process id.
        pid: u32,
        /// What.
        say: Say,
    },
    /// Programs that run, and those whose end nobody was told. [`Answer::Programs`].
    Programs,
    /// What is used. [`Answer::Usage`].
    Usage,
    /// The sockets that a gateway is to listen on. [`Answer::Done`], with the descriptors.
    Listeners,
    /// Every program stands still, or goes on. For hosts without a freezer. [`Answer::Done`].
    Still(bool),
    /// Every program is ended; the guest stays. [`Answer::Done`] when they are gone.
    Clear,
    /// What is at a path. [`Answer::Entry`].
    Stat(Vec<u8>),
    /// What is beneath a directory. [`Answer::Entry`] for each, then [`Answer::Done`].
    List {
        /// The directory.
        path: Vec<u8>,
        /// Levels.
        depth: u32,
    },
    /// Read a regular file. [`Answer::Entry`] with a descriptor of it, at the offset.
    Read {
        /// The file.
        path: Vec<u8>,
        /// Where to begin.
        offset: u64,
    },
    /// Write a file as a whole. [`Answer::Done`]: go on; then [`Say::Bytes`] until [`Say::End`], then [`Answer::Entry`].
    Write {
        /// The file.
        path: Vec<u8>,
        /// Permission bits; none: those that it has, or the usual ones.
        mode: Option<u32>,
    },
    /// Make a directory and those above it. [`Answer::Entry`].
    MakeDir(Vec<u8>),
    /// Move. [`Answer::Entry`].
    Rename {
        /// From.
        from: Vec<u8>,
        /// To.
        to: Vec<u8>,
    },
    /// Remove, with everything beneath. [`Answer::Done`].
    Remove(Vec<u8>),
    /// Watch a directory. [`Answer::Done`], then [`Answer::Changed`].
    Watch {
        /// The directory.
        path: Vec<u8>,
        /// With all beneath it.
        recursive: bool,
    },
    /// Connect to a port of loopback. [`Answer::Done`] with the connected socket.
    Connect(u16),
    /// Start a program whose standard input is a socket of packets. [`Answer::Started`] with the other end of it.
    Zygote(Exec),
    /// Take a fork of a zygote above for a program of this sandbox. [`Answer::Done`] with its standard input, output and error
    /// and a door through which it says that it is there; then as after [`Ask::Exec`], once it did.
    Adopt(Exec),
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Command and arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment, as `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// A name for it.
    pub tag: Option<String>,
    /// A terminal instead of pipes.
    pub terminal: Option<Size>,
    /// Whether it has an input.
    pub input: bool,
}

/// What the node says on a channel that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Say {
    /// Input.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The end of it.
    End,
    /// Another size of the terminal.
    Resize(Size),
    /// A signal to the program's process group.
    Signal(i32),
    /// Output up to this byte has been taken, and need not be kept. [`u64::MAX`]: the end has.
    Taken(u64),
    /// Nobody listens any more: the program is not to wait for anyone.
    Leave,
}

/// Where output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// The terminal.
    Terminal,
}

/// What the guest answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It cannot be done.
    Failed {
        /// What was tried.
        what: String,
        /// The system's error number.
        errno: i32,
    },
    /// It was done; or goes on.
    Done,
    /// A program runs.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// A piece of output.
    Output {
        /// Where it came from.
        source: Source,
        /// Number of its first byte.
        at: u64,
        /// The bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// The program has room for the next [`Say::Bytes`]. Said once for each: whoever says more before it is told so is not heard any
    /// more. All else may be said at any time.
    Fed,
    /// A program ended.
    Ended {
        /// Exit code, if it exited.
        code: Option<i32>,
        /// Signal, if one ended it.
        signal: Option<i32>,
    },
    /// Programs.
    Programs(Vec<Program>),
    /// What is used.
    Usage(Usage),
    /// What is at a path.
    Entry(Entry),
    /// Something happened to a file.
    Changed {
        /// Path beneath the watched directory.
        name: Vec<u8>,
        /// What.
        change: Change,
    },
}

/// A program, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub tag: Option<String>,
    /// Command and arguments.
    pub argv: Vec<Vec<u8>>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// Whether it has a terminal.
    pub terminal: bool,
    /// Whether it ended already.
    pub ended: bool,
}

/// What is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time of all that was reaped, in milliseconds.
    pub cpu_ms: u64,
    /// Bytes in memory-backed file systems.
    pub scratch: u64,
    /// Memory as accounted, where the guest accounts.
    pub memory: Option<u64>,
    /// Whether a bound that the guest accounts was passed.
    pub over: bool,
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path inside.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Where it points, if it is a link.
    pub target: Option<Vec<u8>>,
    /// What is there, if it is a link that leads somewhere.
    pub target_kind: Option<Kind>,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change, in Unix milliseconds.
    pub modified_ms: i64,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It was made.
    Create,
    /// It was written.
    Write,
    /// It was removed.
    Remove,
    /// It was moved away.
    Rename,
    /// Its permissions were changed.
    Chmod,
}

/// Writes a message as a frame.
pub fn frame<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(64);
    out.extend([0; 4]);
    let mut out = postcard::to_extend(message, out).map_err(|_| WireError::Malformed)?;
    let length = out.len() - 4;
    let head = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    if length > MAX_FRAME {
        return Err(WireError::TooLarge(length));
    }
    if let Some(place) = out.first_chunk_mut::<4>() {
        *place = head;
    }
    Ok(out)
}

/// Reads the first frame of a buffer: the message and the bytes that it took; none while it is not whole.
pub fn unframe<T: DeserializeOwned>(buffer: &[u8]) -> Result<Option<(T, usize)>, WireError> {
    let Some((head, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(WireError::TooLarge(length));
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(Some((message, length + 4))),
        _ => Err(WireError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn frames_survive_being_cut_and_being_joined() {
        let ask = Ask::Read {
            path: b"/tmp/x".to_vec(),
            offset: 7,
        };
        let mut bytes = frame(&ask).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(unframe::<Ask>(&bytes[..cut]), Ok(None));
        }
        let length = bytes.len();
        bytes.extend(frame(&Say::End).unwrap());
        assert_eq!(unframe::<Ask>(&bytes), Ok(Some((ask, length))));
        assert!(matches!(
            unframe::<Say>(&bytes[length..]),
            Ok(Some((Say::End, _)))
        ));
    }

    #[test]
    fn what_is_too_long_or_has_more_in_it_is_refused() {
        assert_eq!(
            unframe::<Say>(&u32::MAX.to_le_bytes()),
            Err(WireError::TooLarge(0xffff_ffff))
        );
        let mut padded = frame(&Say::End).unwrap();
        padded[0] += 1;
        padded.push(0);
        assert_eq!(unframe::<Say>(&padded), Err(WireError::Malformed));
        assert!(matches!(
            frame(&Say::Bytes(vec![0; MAX_FRAME])),
            Err(WireError::TooLarge(_))
        ));
    }

    proptest! {
        #[test]
        fn no_frame_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = unframe::<Ask>(&bytes);
            let _ = unframe::<Say>(&bytes);
            let _ = unframe::<Answer>(&bytes);
        }
    }
}
