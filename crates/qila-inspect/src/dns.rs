//! One DNS question from the agent, and the few answers that it may get.
//!
//! The gateway answers out of the policy and forwards nothing, so a packet needs no more than its question understood
//! (RFC 1035, 4.1; RFC 6891 for the OPT record). Answers are at most 512 bytes, so none is ever cut short.
mod write;

use qila_policy::model::HostName;
use std::fmt::Write as _;
pub use write::{answer_address, empty, error, refused};

/// Largest question packet, in bytes: what resolvers agree not to exceed over UDP.
pub const MAX_QUESTION: usize = 1232;

/// Largest answer, in bytes.
pub const MAX_ANSWER: usize = 512;

/// Longest printable form of a name, in bytes.
pub const MAX_SHOWN: usize = 255;

/// Question type A: an IPv4 address.
pub const TYPE_A: u16 = 1;

/// Question type AAAA: an IPv6 address.
pub const TYPE_AAAA: u16 = 28;

const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The number that the answer must repeat.
    pub id: u16,
    /// The name, where it is a legal host name.
    pub name: Option<HostName>,
    /// The name as harmless text for people: printable ASCII, other bytes as `\DDD`; at most [`MAX_SHOWN`] bytes.
    pub shown: String,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for; always 1, the Internet.
    pub qclass: u16,
    /// Whether recursion is desired.
    pub rd: bool,
    /// Whether an OPT record came along; the answer then has one too.
    pub edns: bool,
    /// The name as it came: the answer repeats its upper and lower case.
    wire: Vec<u8>,
}

/// What an answer says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Rcode {
    /// All is well.
    NoError = 0,
    /// The question was not understood.
    FormErr = 1,
    /// The server failed.
    ServFail = 2,
    /// No such name.
    NxDomain = 3,
    /// Such questions are not answered here.
    NotImp = 4,
    /// The policy does not allow it.
    Refused = 5,
}

/// Why a packet is no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// Shorter than a header.
    #[error("shorter than a DNS header")]
    Short,
    /// An answer: replying could start a loop.
    #[error("an answer, not a question")]
    Answer,
    /// Not one well-formed question.
    #[error("not one well-formed question: {why}")]
    Malformed {
        /// Its id.
        id: u16,
        /// What is wrong.
        why: &'static str,
    },
    /// Another operation or class.
    #[error("an operation or class other than an Internet query")]
    NotImplemented {
        /// Its id.
        id: u16,
    },
}

impl DnsError {
    /// What to answer; nothing where silence is right.
    pub fn rcode(&self) -> Option<Rcode> {
        match self {
            DnsError::Short | DnsError::Answer => None,
            DnsError::Malformed { .. } => Some(Rcode::FormErr),
            DnsError::NotImplemented { .. } => Some(Rcode::NotImp),
        }
    }

    /// The answer packet; nothing where silence is right.
    pub fn answer(&self) -> Option<Vec<u8>> {
        match *self {
            DnsError::Short | DnsError::Answer => None,
            DnsError::Malformed { id, .. } | DnsError::NotImplemented { id } => {
                Some(error(id, self.rcode()?))
            }
        }
    }
}

/// Reads one packet (over TCP: without its length prefix).
pub fn question(packet: &[u8]) -> Result<Question, DnsError> {
    let Some((header, rest)) = packet.split_first_chunk::<12>() else {
        return Err(DnsError::Short);
    };
    let [i0, i1, flags, _, q0, q1, a0, a1, n0, n1, x0, x1] = *header;
    let id = u16::from_be_bytes([i0, i1]);
    let malformed = |why| DnsError::Malformed { id, why };
    if flags & 0x80 != 0 {
        return Err(DnsError::Answer);
    }
    if flags & 0x78 != 0 {
        return Err(DnsError::NotImplemented { id });
    }
    if packet.len() > MAX_QUESTION || flags & 0x02 != 0 {
        return Err(malformed("too long, or cut short"));
    }
    if [q0, q1] != [0, 1] || [a0, a1, n0, n1, x0] != [0; 5] || x1 > 1 {
        return Err(malformed("not exactly one question and at most one OPT record"));
    }
    let (wire, rest) = name(rest).map_err(malformed)?;
    let Some((&[t0, t1, c0, c1], rest)) = rest.split_first_chunk::<4>() else {
        return Err(malformed("the question ends early"));
    };
    match x1 {
        0 if rest.is_empty() => {}
        1 => opt(rest).map_err(malformed)?,
        _ => return Err(malformed("bytes after the question")),
    }
    let qclass = u16::from_be_bytes([c0, c1]);
    if qclass != CLASS_IN {
        return Err(DnsError::NotImplemented { id });
    }
    Ok(Question {
        id,
        name: host_name(wire),
        shown: shown(wire),
        qtype: u16::from_be_bytes([t0, t1]),
        qclass,
        rd: flags & 1 != 0,
        edns: x1 == 1,
        wire: wire.to_vec(),
    })
}

/// Splits off the name in front. The first name of a packet has nothing to point back to: no compression.
fn name(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let mut end = 0;
    loop {
        let len = usize::from(*bytes.get(end).ok_or("the name ends early")?);
        if len > 63 {
            return Err("a compressed name, or a label over 63 bytes");
        }
        end += 1 + len;
        if end > 255 {
            return Err("a name over 255 bytes");
        }
        if len == 0 {
            return bytes.split_at_checked(end).ok_or("the name ends early");
        }
    }
}

/// Checks that `bytes` are one OPT record and nothing else. Its options change no answer.
fn opt(bytes: &[u8]) -> Result<(), &'static str> {
    let Some((&[0, t0, t1, _, _, _, version, _, _, l0, l1], options)) = bytes.split_first_chunk::<11>()
    else {
        return Err("the additional record is no OPT record");
    };
    if u16::from_be_bytes([t0, t1]) != TYPE_OPT || version != 0 {
        return Err("the additional record is no OPT record of version 0");
    }
    if options.len() != usize::from(u16::from_be_bytes([l0, l1])) {
        return Err("the OPT record's length is wrong");
    }
    Ok(())
}

/// The labels of a name that [`name`] has checked.
fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (&len, after) = rest.split_first()?;
        let (label, next) = after.split_at_checked(len.into())?;
        rest = next;
        (len > 0).then_some(label)
    })
}

fn host_name(wire: &[u8]) -> Option<HostName> {
    let mut text = String::with_capacity(wire.len());
    for label in labels(wire) {
        // A dot inside a label would make two of it.
        if label.contains(&b'.') {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(str::from_utf8(label).ok()?);
    }
    HostName::parse(&text)
}

fn shown(wire: &[u8]) -> String {
    let mut text = String::with_capacity(wire.len());
    for label in labels(wire) {
        if !text.is_empty() {
            text.push('.');
        }
        for &byte in label {
            if byte.is_ascii_graphic() && byte != b'.' && byte != b'\\' {
                text.push(byte.into());
            } else {
                let _ = write!(text, "\\{byte:03}");
            }
        }
    }
    if text.is_empty() {
        text.push('.');
    }
    if text.len() > MAX_SHOWN {
        text.truncate(MAX_SHOWN - 3);
        text.push_str("...");
    }
    text
}

/// The fuzzer's way in: what is a question has answers that fit, and every error knows what to say.
#[doc(hidden)]
pub fn fuzz_dns(data: &[u8]) {
    match question(data) {
        Ok(q) => {
            assert!(q.shown.len() <= MAX_SHOWN && q.shown.bytes().all(|b| b.is_ascii_graphic()));
            assert!(
                q.name
                    .as_ref()
                    .is_none_or(|n| n.as_str().eq_ignore_ascii_case(&q.shown))
            );
            for answer in [
                answer_address(&q, std::net::Ipv4Addr::LOCALHOST, 1),
                empty(&q),
                refused(&q),
            ] {
                assert!(answer.len() <= MAX_ANSWER && question(&answer) == Err(DnsError::Answer));
            }
        }
        Err(why) => assert_eq!(why.rcode().is_some(), why.answer().is_some()),
    }
}
