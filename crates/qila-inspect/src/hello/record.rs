//! TLS records, and the handshake message that they carry between them.
use super::MAX_HELLO;

/// What the records hold so far.
pub(super) enum Message {
    /// Not yet a whole message.
    Partial,
    /// No TLS at all.
    NotTls,
    /// The body of a ClientHello.
    Whole(Vec<u8>),
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Largest record, in bytes (RFC 8446, 5.1).
const MAX_RECORD: usize = 1 << 14;

/// Most records that one hello may be spread over. Fragmenting clients use a handful; every call goes through all of them.
const MAX_RECORDS: usize = 512;

/// Joins the records at the front of `bytes` up to the end of one handshake message.
pub(super) fn message(bytes: &[u8]) -> Result<Message, &'static str> {
    match *bytes {
        [] => return Ok(Message::Partial),
        // SSLv2: a two-byte length with the top bit set, then the kind, 1 for a hello, then the version.
        [first, _, CLIENT_HELLO, ..] if first & 0x80 != 0 => return Err("an SSLv2 hello"),
        [first] | [first, _] if first & 0x80 != 0 => return Ok(Message::Partial),
        [first, ..] if first != HANDSHAKE => return Ok(Message::NotTls),
        [_, major, ..] if major != 3 => return Ok(Message::NotTls),
        _ => {}
    }
    let mut joined = Vec::new();
    let mut rest = bytes.get(..MAX_HELLO).unwrap_or(bytes);
    for _ in 0..MAX_RECORDS {
        // Each field is judged as soon as it is there, so that a longer prefix never overturns an error.
        match *rest {
            [kind, ..] if kind != HANDSHAKE => return Err("another record inside the hello"),
            [_, major, ..] if major != 3 => return Err("a record of an unknown version"),
            [_, _, minor, ..] if minor > 4 => return Err("a record of an unknown version"),
            _ => {}
        }
        let Some((&[_, _, _, high, low], after)) = rest.split_first_chunk::<5>() else {
            return Ok(Message::Partial);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len == 0 || len > MAX_RECORD {
            return Err("a record of an impossible length");
        }
        let (part, next) = after.split_at_checked(len).unwrap_or((after, &[]));
        joined.extend_from_slice(part);
        if let [kind, ..] = *joined
            && kind != CLIENT_HELLO
        {
            return Err("a handshake that does not begin with a hello");
        }
        if let Some((&[_, a, b, c], body)) = joined.split_first_chunk::<4>() {
            let want = u32::from_be_bytes([0, a, b, c]) as usize;
            if want + 9 > MAX_HELLO {
                return Err("the hello is too long");
            }
            // The record says how much it will hold, whether or not that has arrived.
            if body.len() + (len - part.len()) > want {
                return Err("more than the hello in its record");
            }
            if body.len() == want {
                return Ok(Message::Whole(body.to_vec()));
            }
        }
        if part.len() < len {
            return Ok(Message::Partial);
        }
        rest = next;
    }
    Err("the hello is in too many records")
}
