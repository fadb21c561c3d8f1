//! The head of an HTTP/1 request, twice: as bytes before any library reads them, and as that library parsed it.
//!
//! [`raw_head`] refuses what two parsers could read differently (RFC 9112, 11.2: request smuggling); [`check_head`] then
//! finds the one host that the request is for, and refuses what the gateway does not carry. [`Framing`] and [`Chunks`] find
//! where the body ends, and with it where the next head begins.
mod authority;
mod error;
mod framing;
mod head;
mod hop;
mod raw;
mod reader;

pub use authority::Host;
pub use error::{HeadError, Protocol};
pub use framing::{Chunks, Framing};
pub use head::{Form, Target, check_head};
pub use hop::{strip_hop_by_hop, tokens};
pub use raw::{RawHead, raw_head};
pub use reader::HeadReader;

/// Largest head, in bytes: request line, header fields and the empty line.
pub const MAX_HEAD: usize = 64 * 1024;

/// Most header fields.
pub const MAX_HEADERS: usize = 100;

/// Longest body length that is believed: 19 digits always fit 64 bits.
pub const MAX_LENGTH_DIGITS: usize = 19;

/// Whether the value is a body length: digits and nothing else. Some parsers take a leading zero for octal.
fn is_length(value: &[u8]) -> bool {
    (1..=MAX_LENGTH_DIGITS).contains(&value.len())
        && value.iter().all(u8::is_ascii_digit)
        && (value.len() == 1 || value.first() != Some(&b'0'))
}

/// Whether a field value holds a byte that none may (RFC 9110, 5.5).
fn is_bad(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

/// The fuzzer's way in: a head that passes as bytes parses as HTTP, and has one host or an error with a status.
#[doc(hidden)]
pub fn fuzz_request(data: &[u8]) {
    // A chunked body ends at the same byte however it is cut.
    let whole = Chunks::default().take(data);
    let mut cut = Chunks::default();
    let pieces = data.chunks(3).map(|piece| cut.take(piece));
    assert_eq!(whole, pieces.sum::<Result<usize, _>>());
    // Piece by piece it is judged as it is at once; the first bytes are enough, the cost being quadratic.
    for step in [1, 7] {
        let mut reader = HeadReader::default();
        for end in (1..=data.len().min(512)).step_by(step) {
            let part = data.get(..end).unwrap_or_default();
            let got = reader.read(part);
            assert_eq!(got, raw_head(part));
            if got != RawHead::Incomplete {
                break;
            }
        }
    }
    let RawHead::Complete { len } = raw_head(data) else {
        assert!(data.len() < MAX_HEAD || raw_head(data) != RawHead::Incomplete);
        return;
    };
    let head = data.get(..len).unwrap_or_default();
    assert!(head.ends_with(b"\r\n\r\n"));
    assert_eq!(
        raw_head(head.get(..len - 1).unwrap_or_default()),
        RawHead::Incomplete
    );
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut fields);
    assert_eq!(parsed.parse(head), Ok(httparse::Status::Complete(len)));
    let mut headers = http::HeaderMap::new();
    for field in parsed.headers {
        let name = http::HeaderName::from_bytes(field.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(field.value)) else {
            return;
        };
        headers.append(name, value);
    }
    let (Some(method), Some(path)) = (parsed.method, parsed.path) else {
        return;
    };
    let (Ok(method), Ok(uri)) = (method.parse(), path.parse()) else {
        return;
    };
    let version = if parsed.version == Some(0) {
        http::Version::HTTP_10
    } else {
        http::Version::HTTP_11
    };
    match check_head(&method, &uri, &headers, version) {
        Ok(target) => assert!(!target.to_string().is_empty()),
        Err(why) => assert!(!why.status().is_success() && !why.to_string().is_empty()),
    }
    strip_hop_by_hop(&mut headers);
    assert!(!headers.contains_key(http::header::TRANSFER_ENCODING));
}
