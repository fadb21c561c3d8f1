//! Where the body of a request ends, as strictly as its head was read.

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length in bytes, which may be none.
    Length(u64),
    /// By itself.
    Chunked,
}

impl Framing {
    /// Of a head that [`raw_head`](super::raw_head) has found complete: it has at most one length, or one transfer coding, which
    /// is `chunked`. A length that does not fit is the largest there is, which no body reaches.
    pub fn of(head: &[u8]) -> Framing {
        for line in head.split(|b| *b == b'\n').skip(1) {
            let Some(colon) = memchr::memchr(b':', line) else {
                continue;
            };
            let (name, value) = line.split_at_checked(colon).unwrap_or_default();
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                return Framing::Chunked;
            }
            if name.eq_ignore_ascii_case(b"content-length") {
                let digits = value.iter().filter(|b| b.is_ascii_digit());
                let length = digits.fold(0u64, |n, b| {
                    n.saturating_mul(10).saturating_add(u64::from(b - b'0'))
                });
                return Framing::Length(length);
            }
        }
        Framing::Length(0)
    }
}

/// Longest line between chunks, and longest trailer, in bytes.
const MAX_LINE: usize = 1024;
/// Most bytes of all trailers together.
const MAX_TRAILERS: usize = 16 * 1024;

/// Follows a chunked body to its end.
#[derive(Debug, Default)]
pub struct Chunks {
    at: At,
    size: u64,
    /// Bytes of the present line.
    line: usize,
    trailers: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Digits of a size.
    #[default]
    Size,
    /// The line feed behind a size.
    SizeEnd,
    /// Data.
    Data,
    /// The carriage return, then the line feed, behind data.
    DataEnd,
    DataFeed,
    /// Trailers, and the line feed behind one.
    Trailer,
    TrailerFeed,
    /// Behind the last line feed.
    End,
}

impl Chunks {
    /// Takes bytes as they come. Answers how many belong to the body, fewer than there are only at its end.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut used = 0;
        while let Some(byte) = bytes.get(used) {
            match self.at {
                At::End => break,
                At::Data => {
                    let left = usize::try_from(self.size).unwrap_or(usize::MAX);
                    let n = left.min(bytes.len() - used);
                    used += n;
                    self.size -= n as u64;
                    if self.size == 0 {
                        self.at = At::DataEnd;
                    }
                    continue;
                }
                _ => self.step(*byte)?,
            }
            used += 1;
        }
        Ok(used)
    }

    /// Whether the body has ended.
    pub fn ended(&self) -> bool {
        self.at == At::End
    }

    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        self.at = match (self.at, byte) {
            (At::Size, b) if b.is_ascii_hexdigit() => {
                self.line += 1;
                if self.line > 15 {
                    return Err("a chunk of absurd size");
                }
                self.size = self.size << 4 | u64::from((b as char).to_digit(16).unwrap_or(0));
                At::Size
            }
            (At::Size, b'\r') if self.line > 0 => At::SizeEnd,
            (At::Size, b';') => return Err("a chunk extension"),
            (At::Size, _) => return Err("a chunk without a size"),
            (At::SizeEnd, b'\n') => {
                self.line = 0;
                if self.size == 0 { At::Trailer } else { At::Data }
            }
            (At::DataEnd, b'\r') => At::DataFeed,
            (At::DataFeed, b'\n') => At::Size,
            (At::Trailer, b'\r') => At::TrailerFeed,
            (At::Trailer, b) if super::is_bad(b) => return Err("a control byte in a trailer"),
            (At::Trailer, _) => {
                self.line += 1;
                self.trailers += 1;
                if self.line > MAX_LINE || self.trailers > MAX_TRAILERS {
                    return Err("trailers without end");
                }
                At::Trailer
            }
            (At::TrailerFeed, b'\n') if self.line == 0 => At::End,
            (At::TrailerFeed, b'\n') => {
                self.line = 0;
                At::Trailer
            }
            (At::DataEnd | At::DataFeed, _) => return Err("a chunk longer than its size"),
            (At::SizeEnd | At::TrailerFeed, _) => return Err("a carriage return without a line feed"),
            (At::Data | At::End, _) => At::End,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_end_where_the_head_says() {
        let framing =
            |fields: &str| Framing::of(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        assert_eq!(framing(""), Framing::Length(0));
        assert_eq!(framing("content-LENGTH: 12\r\n"), Framing::Length(12));
        assert_eq!(
            framing("Content-Length: 99999999999999999999\r\n"),
            Framing::Length(u64::MAX)
        );
        assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Framing::Chunked);
        assert_eq!(framing("X-Content-Length: 5\r\n"), Framing::Length(0));
    }

    #[test]
    fn chunks_are_followed_to_their_end_however_they_are_cut() {
        let body = b"5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-T: 1\r\n\r\nGET / HTTP/1.1\r\n";
        let end = body.len() - b"GET / HTTP/1.1\r\n".len();
        for piece in 1..=body.len() {
            let mut chunks = Chunks::default();
            let mut used = 0;
            for part in body.chunks(piece) {
                used += chunks.take(part).unwrap();
            }
            assert_eq!((used, chunks.ended()), (end, true), "in pieces of {piece}");
        }
    }

    #[test]
    fn chunks_that_two_readers_could_read_differently_are_refused() {
        for bad in [
            &b"5;ext=1\r\nhello\r\n"[..],
            b"5\nhello\r\n",
            b"\r\n",
            b" 5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"+5\r\nhello\r\n",
            b"5\r\nhelloo\r\n",
            b"5\r\nhello\n",
            b"1000000000000000\r\n",
            b"0\r\nX: \x01\r\n\r\n",
            b"0\r\nX: 1\n\r\n",
            b"0\r\n\rx",
        ] {
            assert!(
                Chunks::default().take(bad).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
        let mut endless = b"0\r\n".to_vec();
        endless.extend(vec![b'a'; MAX_LINE + 1]);
        assert!(Chunks::default().take(&endless).is_err());
    }
}
