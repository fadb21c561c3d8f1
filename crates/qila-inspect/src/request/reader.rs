//! A head that arrives in pieces.
use super::raw::plain;
use super::{MAX_HEAD, RawHead, raw_head};
use memchr::memchr;

/// Reads a head as [`raw_head`] does, with the same answers, but not every byte anew for every piece: an agent that sends
/// single bytes would otherwise make the gateway read each up to [`MAX_HEAD`] times.
#[derive(Debug, Default)]
pub struct HeadReader {
    seen: usize,
    refused: Option<&'static str>,
}

impl HeadReader {
    /// Looks at all bytes since the last request ended: those of the call before, and what came after them. Once refused,
    /// always refused; after a whole head it is ready for the next.
    pub fn read(&mut self, bytes: &[u8]) -> RawHead {
        let answer = match self.refused {
            Some(why) => RawHead::Malformed(why),
            None => self.judge(bytes),
        };
        match answer {
            RawHead::Incomplete => self.seen = bytes.len(),
            RawHead::Malformed(why) => self.refused = Some(why),
            RawHead::Complete { .. } => self.seen = 0,
        }
        answer
    }

    /// Only a new line feed, of which a head has few, or the limit can change what was judged before.
    fn judge(&self, bytes: &[u8]) -> RawHead {
        let Some((known, fresh)) = bytes.split_at_checked(self.seen) else {
            return raw_head(bytes);
        };
        if bytes.len() >= MAX_HEAD || memchr(b'\n', fresh).is_some() {
            return raw_head(bytes);
        }
        // A carriage return at the end was waiting for its line feed, which has not come.
        if known.ends_with(b"\r") && !fresh.is_empty() {
            return raw_head(bytes);
        }
        match plain(fresh.strip_suffix(b"\r").unwrap_or(fresh)) {
            Ok(()) => RawHead::Incomplete,
            Err(_) => raw_head(bytes),
        }
    }
}
