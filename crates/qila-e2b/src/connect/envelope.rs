//! Envelopes: a byte of flags and four of length before each message of a stream.
use super::codec::{Codec, Reply};
use super::{Fault, MAX_MESSAGE};
use bytes::{Buf, BufMut, Bytes, BytesMut};

const HEAD: usize = 5;
const COMPRESSED: u8 = 1;
const END: u8 = 2;

fn wrap(flags: u8, message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + message.len());
    out.put_u8(flags);
    // Longer than 4 GiB is none of ours.
    out.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    out.put_slice(message);
    out.freeze()
}

/// A message in its envelope.
pub(crate) fn message<T: Reply>(codec: Codec, reply: &T) -> Result<Bytes, Fault> {
    Ok(wrap(0, &codec.write(reply)?))
}

/// The envelope that ends a stream. It is JSON whatever the messages are.
pub(crate) fn end(fault: Option<&Fault>) -> Bytes {
    let body = match fault {
        Some(fault) => serde_json::json!({"error": fault}),
        None => serde_json::json!({}),
    };
    wrap(END, body.to_string().as_bytes())
}

/// Takes one message off the front. None: it is not there as a whole yet.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Bytes>, Fault> {
    let mut head = &buffer[..];
    if head.len() < HEAD {
        return Ok(None);
    }
    let flags = head.get_u8();
    let length = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
    if flags & COMPRESSED != 0 {
        return Err(Fault::invalid(
            "a message is compressed, and no compression was agreed on",
        ));
    }
    if flags != 0 {
        return Err(Fault::invalid(format!(
            "a message has unknown flags {flags:#04x}"
        )));
    }
    if length > MAX_MESSAGE {
        return Err(Fault::new(
            super::Code::ResourceExhausted,
            format!("a message has {length} bytes, and may have {MAX_MESSAGE}"),
        ));
    }
    if buffer.len() < HEAD + length {
        return Ok(None);
    }
    buffer.advance(HEAD);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// However a stream is cut, its messages are what they were.
        #[test]
        fn messages_are_what_they_were(
            messages in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..300), 0..6),
            cut in 1usize..40,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| wrap(0, m)).collect();
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(message) = take(&mut buffer).unwrap() {
                    read.push(message.to_vec());
                }
            }
            proptest::prop_assert_eq!(read, messages);
            proptest::prop_assert!(buffer.is_empty());
        }

        /// Whatever comes is a message, a part of one, or refused, and no more is asked for than is allowed.
        #[test]
        fn anything_is_answered(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            if let Ok(None) = take(&mut buffer) {
                let length = bytes.get(1..5).map_or(0, |b| u32::from_be_bytes(b.try_into().unwrap()));
                proptest::prop_assert!(length as usize <= MAX_MESSAGE);
            }
        }
    }
}
