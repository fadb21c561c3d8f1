//! Answers of HTTP/1.1, read and verified.
use std::io::{BufRead, BufReader, Read, Write};

use super::origin::{EVENTS, FILL};

/// Longest line that is read.
const MAX_LINE: u64 = 16 << 10;
/// Longest body.
const MAX_BODY: usize = 1 << 21;

/// A connection on which one asks and then reads.
#[derive(Debug)]
pub struct Answers<S: Read + Write> {
    stream: BufReader<S>,
    line: Vec<u8>,
    body: Vec<u8>,
}

/// How long a body is.
enum Length {
    Known(usize),
    Chunks,
}

impl<S: Read + Write> Answers<S> {
    /// Over a stream.
    pub fn new(stream: S) -> Answers<S> {
        Answers {
            stream: BufReader::with_capacity(16 << 10, stream),
            line: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Sends a request and takes the answer, which must be so many bytes of the right kind.
    pub fn ask(&mut self, request: &[u8], bytes: usize) -> Result<(), String> {
        self.send(request)?;
        self.body.clear();
        match self.head()? {
            Length::Known(size) => self.more(size)?,
            Length::Chunks => while self.chunk()? > 0 {},
        }
        if self.body.len() != bytes || self.body.iter().any(|byte| *byte != FILL) {
            return Err(format!("a wrong answer of {} bytes", self.body.len()));
        }
        Ok(())
    }

    /// Sends a request and takes a stream of events: microseconds that the first was on its way, then those of the rest.
    pub fn events(&mut self, request: &[u8]) -> Result<Option<f64>, String> {
        self.send(request)?;
        self.body.clear();
        if matches!(self.head()?, Length::Known(_)) {
            return Err("no stream".to_owned());
        }
        let (mut first, mut seen) = (None, 0);
        while self.chunk()? > 0 {
            let now = super::load::now();
            while let Some(end) = self.body.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.body.drain(..end + 2).collect();
                let text = String::from_utf8_lossy(&event);
                let sent: u64 = text
                    .trim()
                    .strip_prefix("data: ")
                    .and_then(|n| n.parse().ok())
                    .ok_or("no event")?;
                first = first.or(Some(now.saturating_sub(sent) as f64 / 1e3));
                seen += 1;
            }
        }
        match seen {
            EVENTS => Ok(first),
            _ => Err(format!("{seen} events of {EVENTS}")),
        }
    }

    fn send(&mut self, request: &[u8]) -> Result<(), String> {
        self.stream
            .get_mut()
            .write_all(request)
            .map_err(|error| format!("sending: {error}"))
    }

    fn line(&mut self) -> Result<String, String> {
        self.line.clear();
        let read = self
            .stream
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.line);
        match read {
            Ok(0) => Err("the connection ended".to_owned()),
            Ok(_) => Ok(String::from_utf8_lossy(&self.line).trim_end().to_owned()),
            Err(error) => Err(format!("reading: {error}")),
        }
    }

    fn head(&mut self) -> Result<Length, String> {
        let status = self.line()?;
        if !status.starts_with("HTTP/1.1 200") {
            return Err(format!("answered `{status}`"));
        }
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                return length.ok_or_else(|| "an answer without length".to_owned());
            } else if let Some(size) = line.strip_prefix("content-length:") {
                length = Some(Length::Known(size.trim().parse().map_err(|_| "a wrong length")?));
            } else if line.starts_with("transfer-encoding:") && line.ends_with("chunked") {
                length = Some(Length::Chunks);
            }
        }
    }

    fn chunk(&mut self) -> Result<usize, String> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| format!("`{line}` is no chunk"))?;
        self.more(size)?;
        self.line().map(|_| size)
    }

    fn more(&mut self, size: usize) -> Result<(), String> {
        let held = self.body.len();
        if held.saturating_add(size) > MAX_BODY {
            return Err("a body too long".to_owned());
        }
        self.body.resize(held + size, 0);
        let room = self.body.get_mut(held..).unwrap_or_default();
        self.stream
            .read_exact(room)
            .map_err(|error| format!("reading: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    struct Both(Cursor<Vec<u8>>);
    impl Read for Both {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(to)
        }
    }
    impl Write for Both {
        fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
            Ok(from.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn asked(answer: &str, bytes: usize) -> Result<(), String> {
        Answers::new(Both(Cursor::new(answer.as_bytes().to_vec()))).ask(b"", bytes)
    }

    #[test]
    fn only_the_right_answer_counts() {
        assert_eq!(
            asked("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nqqq", 3),
            Ok(())
        );
        assert_eq!(
            asked(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nqq\r\n1\r\nq\r\n0\r\n\r\n",
                3
            ),
            Ok(())
        );
        for (wrong, bytes) in [
            ("HTTP/1.1 401 No\r\ncontent-length: 3\r\n\r\nqqq", 3),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nqxq", 3),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nqqq", 4),
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nqqq", 4),
            ("HTTP/1.1 200 OK\r\n\r\n", 0),
        ] {
            assert!(asked(wrong, bytes).is_err(), "{wrong}");
        }
    }
}
