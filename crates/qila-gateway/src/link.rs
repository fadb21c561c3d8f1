//! What is said between the gateway and its launcher: JSON messages, a line each, in packets of a unix socket, bounded.
use qila_types::EventKind;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Largest packet in bytes. The longest event holds a path of 1,024 characters.
pub(crate) const MAX_PACKET: usize = 32 * 1024;

/// From the gateway.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Up {
    /// The credentials were read and the certificate authority made; the listeners may come.
    Ready {
        /// The CA's certificate as PEM; empty where no rule intercepts.
        ca: String,
    },
    /// It cannot start.
    Failed {
        /// What failed.
        what: String,
        /// What to do.
        hint: String,
    },
    /// An order was carried out, or why it was not.
    Changed {
        /// Why not.
        error: Option<String>,
    },
    /// Something happened.
    Event {
        /// Its number, counting from one.
        seq: u64,
        /// Whether the gateway waits for it to be durable.
        wait: bool,
        /// What.
        kind: EventKind,
    },
}

/// From the launcher.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Down {
    /// The listeners come with this packet: TCP, DNS over UDP, DNS over TCP; or TCP alone.
    Listen,
    /// An [`Order`](crate::config::Order), in the file that comes with this packet.
    Change,
    /// The run has ended: say what is left to be said, and end.
    Stop,
    /// Every event up to this number is durable.
    Written {
        /// The number.
        through: u64,
    },
}

/// Writes a message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Errno> {
    let bytes = serde_json::to_vec(message).map_err(|_| Errno::INVAL)?;
    if bytes.len() > MAX_PACKET {
        return Err(Errno::MSGSIZE);
    }
    Ok(bytes)
}

/// The messages of a packet, none of which has an end of line in it.
pub(crate) fn messages(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    packet.split(|b| *b == b'\n').filter(|m| !m.is_empty())
}

/// Reads a message.
pub(crate) fn decode<'a, T: Deserialize<'a>>(packet: &'a [u8]) -> Result<T, Errno> {
    serde_json::from_slice(packet).map_err(|_| Errno::BADMSG)
}

/// Feeds hostile bytes to both readers.
pub fn fuzz(packet: &[u8]) {
    for message in messages(packet) {
        let _ = decode::<Up>(message);
    }
    let _ = decode::<Down>(packet);
}
