//! gRPC over HTTP/2: the framing of its messages, and what its requests and answers must say.
//!
//! Each message has a prefix of five bytes: a flag for compression and a length. [`Frames`] follows them with the prefix as
//! its only memory, and lets a [`Filter`] look at each payload. Refused: a flag other than 0 and 1, a compressed message
//! where no encoding was named, a message over the limit, a stream that ends inside of a message, a content type that
//! is not gRPC's (gRPC-Web frames its trailers otherwise), a path that is not `/package.Service/Method`, and an answer whose
//! trailers do not say how the call ended.
//!
//! A compressed payload shows a filter nothing. Where payloads must be seen, [`plain`] takes the wish for compression out of
//! the request, and [`Frames`] made with `encoded: false` refuses what is compressed all the same.
use crate::filter::{Filter, Stopped};
use http::{HeaderMap, HeaderValue, Method};

/// Largest message that libraries take unless told otherwise.
pub const DEFAULT_MESSAGE: u32 = 4 * 1024 * 1024;

/// Longest path.
pub const MAX_PATH: usize = 1024;

/// Highest status code there is (`UNAUTHENTICATED`).
const LAST_STATUS: u32 = 16;

/// Why a call is refused or broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrpcError {
    /// Neither 0 nor 1.
    #[error("a gRPC message with an unknown flag")]
    Flag,
    /// Compressed, and must not be.
    #[error("a compressed gRPC message where none was agreed on")]
    Compressed,
    /// Over the limit, in bytes.
    #[error("a gRPC message of more than {0} bytes")]
    Long(u32),
    /// The stream ends inside of a message.
    #[error("a gRPC message that ends too early")]
    Short,
    /// The filter stopped it.
    #[error("a gRPC message that was stopped")]
    Stopped,
    /// The filter changed a message's length.
    #[error("a gRPC message whose length changed")]
    Length,
    /// Not POST.
    #[error("a gRPC call by a method other than POST")]
    Method,
    /// Not gRPC's.
    #[error("a content type other than application/grpc")]
    ContentType,
    /// Not `/package.Service/Method`.
    #[error("a gRPC path other than /package.Service/Method")]
    Path,
    /// No `te: trailers`.
    #[error("a gRPC call without `te: trailers`")]
    Te,
    /// No `grpc-status`, several, or one that there is not.
    #[error("a gRPC answer without one valid grpc-status")]
    Status,
}

impl From<Stopped> for GrpcError {
    fn from(_: Stopped) -> GrpcError {
        GrpcError::Stopped
    }
}

/// The service and method that a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// `package.Service`.
    pub service: &'a str,
    /// `Method`.
    pub method: &'a str,
}

/// Reads a path.
pub fn path(path: &str) -> Result<Call<'_>, GrpcError> {
    let word = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    match parts {
        Some((service, method)) if path.len() <= MAX_PATH && service.split('.').all(word) && word(method) => {
            Ok(Call { service, method })
        }
        _ => Err(GrpcError::Path),
    }
}

/// Whether the one content type is gRPC's: `application/grpc`, with `+proto` or such.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(http::header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else { return false };
    let kind = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim_matches([' ', '\t']);
    let Some((base, rest)) = kind.split_at_checked("application/grpc".len()) else {
        return false;
    };
    let suffix = |rest: &str| {
        let name = rest.strip_prefix('+').unwrap_or_default();
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    base.eq_ignore_ascii_case("application/grpc") && (rest.is_empty() || suffix(rest))
}

/// Checks a request: method, content type, path and `te`. Its URI has no query.
pub fn request<'a>(method: &Method, uri: &'a http::Uri, headers: &HeaderMap) -> Result<Call<'a>, GrpcError> {
    if method != Method::POST {
        return Err(GrpcError::Method);
    }
    if !is_grpc(headers) {
        return Err(GrpcError::ContentType);
    }
    if headers.get(http::header::TE) != Some(&HeaderValue::from_static("trailers")) {
        return Err(GrpcError::Te);
    }
    if uri.query().is_some() {
        return Err(GrpcError::Path);
    }
    path(uri.path())
}

/// Takes the wish for compressed answers out of a request.
pub fn plain(headers: &mut HeaderMap) {
    headers.remove("grpc-accept-encoding");
}

/// Whether the fields name a compression of messages.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all("grpc-encoding").iter();
    values.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Reads how the call ended, from the trailers, or from the head of an answer that has no body.
pub fn status(trailers: &HeaderMap) -> Result<u32, GrpcError> {
    let mut values = trailers.get_all("grpc-status").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(GrpcError::Status);
    };
    match value.as_bytes() {
        [b'0'] => Ok(0),
        digits @ [b'1'..=b'9'] | digits @ [b'1'..=b'9', b'0'..=b'9'] => {
            let code = digits.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0'));
            if code <= LAST_STATUS {
                Ok(code)
            } else {
                Err(GrpcError::Status)
            }
        }
        _ => Err(GrpcError::Status),
    }
}

/// Follows the messages of one direction of a call.
#[derive(Debug)]
pub struct Frames {
    limit: u32,
    encoded: bool,
    prefix: [u8; 5],
    have: usize,
    /// Bytes of the message that are still to come, and that the filter has not yet let go.
    left: u32,
    owed: u32,
    messages: u64,
    failed: Option<GrpcError>,
}

impl Frames {
    /// For messages of at most `limit` bytes, as they are on the wire; `encoded`: they may be compressed.
    pub fn new(limit: u32, encoded: bool) -> Frames {
        Frames {
            limit,
            encoded,
            prefix: [0; 5],
            have: 0,
            left: 0,
            owed: 0,
            messages: 0,
            failed: None,
        }
    }

    /// Takes the next bytes of the stream; appends to `out` what may go on. After an error it stays with it.
    pub fn push(
        &mut self,
        piece: &[u8],
        filter: &mut impl Filter,
        out: &mut Vec<u8>,
    ) -> Result<(), GrpcError> {
        if let Some(why) = self.failed {
            return Err(why);
        }
        let done = self.read(piece, filter, out);
        self.failed = done.err();
        done
    }

    /// How many messages have begun.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Ends the stream: an error inside of a message.
    pub fn finish(&self) -> Result<(), GrpcError> {
        match self.failed {
            Some(why) => Err(why),
            None if self.have == 0 => Ok(()),
            None => Err(GrpcError::Short),
        }
    }

    fn read(
        &mut self,
        mut rest: &[u8],
        filter: &mut impl Filter,
        out: &mut Vec<u8>,
    ) -> Result<(), GrpcError> {
        while let Some((&byte, behind)) = rest.split_first() {
            let before;
            if let Some(slot) = self.prefix.get_mut(self.have) {
                *slot = byte;
                self.have += 1;
                rest = behind;
                if self.have < self.prefix.len() {
                    continue;
                }
                self.left = self.begins()?;
                self.owed = self.left;
                self.messages += 1;
                out.extend_from_slice(&self.prefix);
                before = out.len();
            } else {
                let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                let (payload, behind) = rest.split_at_checked(here).unwrap_or_default();
                before = out.len();
                filter.push(payload, out)?;
                self.left -= u32::try_from(payload.len()).unwrap_or(self.left);
                rest = behind;
            }
            if self.left == 0 {
                filter.finish(out)?;
                self.have = 0;
            }
            let gone = out.len().checked_sub(before).and_then(|n| u32::try_from(n).ok());
            let owed = gone.and_then(|gone| self.owed.checked_sub(gone));
            self.owed = owed.ok_or(GrpcError::Length)?;
            if self.left == 0 && self.owed > 0 {
                return Err(GrpcError::Length);
            }
        }
        Ok(())
    }

    /// Reads a whole prefix.
    fn begins(&self) -> Result<u32, GrpcError> {
        let [flag, a, b, c, d] = self.prefix;
        match flag {
            0 => {}
            1 if self.encoded => {}
            1 => return Err(GrpcError::Compressed),
            _ => return Err(GrpcError::Flag),
        }
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > self.limit {
            return Err(GrpcError::Long(self.limit));
        }
        Ok(length)
    }
}

/// The fuzzer's way in: what passes is what came, however it is cut, and its messages are those that a plain reading finds.
#[doc(hidden)]
pub fn fuzz_grpc(data: &[u8]) {
    const LIMIT: u32 = 4096;
    let read = |step: usize| {
        let (mut frames, mut out) = (Frames::new(LIMIT, true), Vec::new());
        let mut pass = crate::filter::Pass;
        let done = data
            .chunks(step.max(1))
            .try_for_each(|piece| frames.push(piece, &mut pass, &mut out));
        (done, frames.finish(), frames.messages(), out)
    };
    let whole = read(data.len());
    assert!(data.starts_with(&whole.3));
    assert_eq!(whole, read(1));
    assert_eq!(whole, read(7));
    let (mut rest, mut messages) = (data, 0);
    while let Some((&[flag, a, b, c, d], behind)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([a, b, c, d]);
        let (true, true) = (flag < 2, length <= LIMIT) else {
            assert!(whole.0.is_err());
            return;
        };
        messages += 1;
        let Some(next) = behind.get(usize::try_from(length).unwrap_or(usize::MAX)..) else {
            rest = b"?";
            break;
        };
        rest = next;
    }
    assert_eq!(whole.2, messages);
    assert_eq!(whole.1.is_ok(), rest.is_empty());
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(call) = path(text)
    {
        assert_eq!(format!("/{}/{}", call.service, call.method), text);
    }
}
