//! The guest protocol: what is said between a launcher and the guest; pure.
//!
//! One message is one packet of a `SOCK_SEQPACKET` socket: a version byte, then the message in postcard form. Neither end
//! trusts the other: a packet over [`MAX_PACKET`], of another version, or with bytes left over is an error that ends the run.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod served;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Largest packet in bytes.
pub const MAX_PACKET: usize = 160 * 1024;

/// Version of this protocol; guest and launcher come from one build, so any difference is an error.
pub const VERSION: u8 = 1;

/// What the launcher tells the guest, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begin {
    /// One program runs, and its end is the sandbox's.
    Run(Start),
    /// Whoever connects asks for things. With the packet comes the socket to accept them on, and behind it those that a
    /// gateway is to listen on, if there is a gateway. Answered with [`Report::Started`].
    Serve(served::Cage),
    /// An engine runs, and in it a program. Its end is the sandbox's.
    Engine(Engine),
}

/// An engine: a program that keeps the capabilities of the sandbox's user namespace to make a sandbox of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Files that it is to find: paths, and what is in them. Their directories are there.
    pub files: Vec<(Vec<u8>, Vec<u8>)>,
    /// The engine. Of its Landlock rules only those for ports are put on it.
    pub start: Start,
}

/// The program of a sandbox that runs one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Command and arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment, as `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// Landlock rules for the agent.
    pub landlock: Landlock,
    /// Seccomp filter for the agent: instructions in the kernel's layout, eight bytes each.
    pub filter: Vec<u8>,
    /// Processors to which the agent is bound; empty means any.
    pub cpus: Vec<u32>,
    /// Terminal for the agent instead of pipes.
    pub terminal: Option<Size>,
    /// Memory accounting by the guest itself.
    pub accounting: Option<Accounting>,
}

/// One resource limit, soft and hard alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Which.
    pub what: LimitKind,
    /// Its value.
    pub value: u64,
}

/// Which resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Open files of one process.
    OpenFiles,
    /// Processes and threads of the sandbox's user in its own user namespace.
    Processes,
    /// Largest file, in bytes.
    FileSize,
    /// Address space of one process, in bytes.
    AddressSpace,
    /// Private writable memory of one process, in bytes.
    Data,
    /// Core dumps, in bytes.
    Core,
}

/// Landlock rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landlock {
    /// ABI that the plan was made for.
    pub abi: u32,
    /// Paths and what may be done beneath them; one that does not exist ends the launch.
    pub paths: Vec<(Vec<u8>, Reach)>,
    /// TCP ports that may be connected to, binding being denied; none leaves ports alone.
    pub connect: Option<Vec<u16>>,
}

/// What may be done beneath a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// List directories.
    List,
    /// Read, list and start programs.
    Read,
    /// Everything but making device nodes.
    Write,
    /// Read and write one device, ioctl included.
    Device,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// Memory accounting by sampling the sandbox's processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Bound in bytes over all processes and memory-backed files together.
    pub memory: u64,
    /// Time between two samples in milliseconds.
    pub every_ms: u32,
    /// Memory-backed file systems to count in.
    pub mounts: Vec<Vec<u8>>,
}

/// What the launcher may say later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Send a signal to the agent's process group, or to the terminal's foreground group.
    Signal(i32),
    /// End everything now.
    Kill,
}

/// What the guest reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A step of the set-up failed; nothing was started.
    Failed {
        /// The step, for a person.
        step: String,
        /// The system's error number.
        errno: i32,
    },
    /// The network is locked; descriptors follow with the packet: TCP listener, DNS over UDP, DNS over TCP.
    Locked,
    /// The view is built; the guest waits for [`Start`].
    Ready,
    /// The terminal's controlling end comes with the packet.
    Terminal,
    /// The agent's program runs.
    Started,
    /// The agent's program could not be started.
    NotStarted {
        /// The system's error number.
        errno: i32,
    },
    /// A bound that the guest accounts was passed; the agent is being ended.
    OverLimit {
        /// Bytes in use.
        memory: u64,
    },
    /// The agent's first process ended, and every other after it.
    Ended {
        /// Exit code, if it exited.
        code: Option<i32>,
        /// Signal, if one ended it.
        signal: Option<i32>,
        /// Processor time in milliseconds.
        cpu_ms: u64,
        /// Largest resident set of one process in bytes, or the sampled peak of all where the guest accounts.
        peak_memory: u64,
    },
}

/// Why a packet is not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Too large to send.
    #[error("a message of {0} bytes is over the limit of {MAX_PACKET}")]
    TooLarge(usize),
    /// From another build.
    #[error("protocol version {0:?}, expected {VERSION}")]
    Version(Option<u8>),
    /// Not a message.
    #[error("malformed message")]
    Malformed,
}

/// Writes a message as a packet.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_extend(message, vec![VERSION]).map_err(|_| WireError::Malformed)?;
    if bytes.len() > MAX_PACKET {
        Err(WireError::TooLarge(bytes.len()))
    } else {
        Ok(bytes)
    }
}

/// Reads a packet.
pub fn decode<T: DeserializeOwned>(packet: &[u8]) -> Result<T, WireError> {
    if packet.len() > MAX_PACKET {
        return Err(WireError::TooLarge(packet.len()));
    }
    match packet.split_first() {
        Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((message, [])) => Ok(message),
            _ => Err(WireError::Malformed),
        },
        other => Err(WireError::Version(other.map(|(v, _)| *v))),
    }
}

/// Feeds hostile bytes to every reader of this crate.
pub fn fuzz(packet: &[u8]) {
    let _ = decode::<Report>(packet);
    let _ = decode::<Order>(packet);
    let _ = decode::<Start>(packet);
    let _ = decode::<Begin>(packet);
    let _ = served::unframe::<served::Ask>(packet);
    let _ = served::unframe::<served::Say>(packet);
    let _ = served::unframe::<served::Answer>(packet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reports_survive_and_trailing_bytes_do_not() {
        let report = Report::Ended {
            code: Some(3),
            signal: None,
            cpu_ms: 9,
            peak_memory: 1 << 20,
        };
        let mut packet = encode(&report).unwrap();
        assert_eq!(decode::<Report>(&packet), Ok(report));
        packet.push(0);
        assert_eq!(decode::<Report>(&packet), Err(WireError::Malformed));
        assert_eq!(decode::<Report>(&[9, 0]), Err(WireError::Version(Some(9))));
        assert_eq!(decode::<Report>(&[]), Err(WireError::Version(None)));
    }

    proptest! {
        #[test]
        fn no_packet_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            fuzz(&bytes);
        }
    }
}
