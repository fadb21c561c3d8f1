//! Forms as RFC 7578 and RFC 2046 write them, read part by part and piece by piece: no more of one is held than a piece.
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use qila_api::Writer;
use std::io;
use tokio::io::AsyncReadExt;

/// Most bytes that are read at once.
const PIECE: usize = 64 << 10;
/// Most bytes before the first part, and of the head of a part.
const HEAD: usize = 16 << 10;
/// Longest boundary, by RFC 2046.
const BOUNDARY: usize = 70;

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub name: String,
    pub file: Option<String>,
}

/// A form that is being read.
pub(super) struct Form {
    body: Writer,
    buffer: BytesMut,
    /// What ends a part: a line break, two hyphens and the boundary.
    end: Vec<u8>,
    ended: bool,
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the form is malformed, or broke off")
}

/// The boundary in a `Content-Type`.
fn boundary(kind: &str) -> Option<String> {
    let value = parameter(kind, "boundary")?;
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    ((1..=BOUNDARY).contains(&value.len()) && value.bytes().all(sound)).then_some(value)
}

/// A parameter of a header's value: a word, or a text in quotation marks.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (text, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (word, after) = after.split_at(end);
                (word.trim().to_owned(), after)
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(text);
        }
        rest = after.trim_start().strip_prefix(';')?;
    }
}

/// A text up to its closing mark, and what follows.
fn quoted_text(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((text, quoted.get(at + 1..)?)),
            // Only what needs it is escaped: other backslashes are themselves.
            '\\' if matches!(quoted.as_bytes().get(at + 1), Some(b'"' | b'\\')) => text.push(chars.next()?.1),
            c => text.push(c),
        }
    }
    None
}

fn part(head: &[u8]) -> Option<Part> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let of = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value)
    })?;
    let form = of.split(';').next()?.trim().eq_ignore_ascii_case("form-data");
    form.then_some(())?;
    Some(Part {
        name: parameter(of, "name")?,
        file: parameter(of, "filename"),
    })
}

impl Form {
    /// Reads a form of this `Content-Type`. None: it names no boundary.
    pub(super) fn new(kind: &str, body: Writer) -> Option<Form> {
        let end = format!("\r\n--{}", boundary(kind)?).into_bytes();
        Some(Form {
            body,
            // As if a line had ended before the first part.
            buffer: BytesMut::from(&b"\r\n"[..]),
            end,
            ended: false,
        })
    }

    /// Reads more. At the end of the body a form has not ended: that is an error.
    async fn more(&mut self) -> io::Result<()> {
        self.buffer.reserve(PIECE);
        match (&mut self.body)
            .take(PIECE as u64)
            .read_buf(&mut self.buffer)
            .await?
        {
            0 => Err(broken()),
            _ => Ok(()),
        }
    }

    /// The next part, once the one before was read to its end. None: that was the last.
    pub(super) async fn next(&mut self) -> io::Result<Option<Part>> {
        if self.ended {
            return Ok(None);
        }
        let mut before = 0;
        while let Some(piece) = self.piece().await? {
            before += piece.len();
            if before > HEAD {
                return Err(broken());
            }
        }
        let _ = self.buffer.split_to(self.end.len().min(self.buffer.len()));
        let head = loop {
            if self.buffer.starts_with(b"--") {
                self.ended = true;
                return Ok(None);
            }
            if let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break self.buffer.split_to(at + 4);
            }
            if self.buffer.len() > HEAD {
                return Err(broken());
            }
            self.more().await?;
        };
        // After the boundary there may be blanks, then the line ends.
        let blank = head.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let head = head.get(blank..).and_then(|head| head.strip_prefix(b"\r\n"));
        head.and_then(part).map(Some).ok_or_else(broken)
    }

    /// Bytes of the part; none: that was all of it.
    pub(super) async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let ready = match memmem::find(&self.buffer, &self.end) {
                Some(0) => return Ok(None),
                Some(at) => at,
                // Its end may begin in what is there.
                None => self.buffer.len().saturating_sub(self.end.len() - 1),
            };
            if ready > 0 {
                return Ok(Some(self.buffer.split_to(ready).freeze()));
            }
            self.more().await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(kind: &str, body: &'static [u8]) -> io::Result<Vec<(Part, Vec<u8>)>> {
        let mut form = Form::new(kind, Box::pin(body)).ok_or_else(broken)?;
        let mut all = Vec::new();
        while let Some(part) = form.next().await? {
            let mut bytes = Vec::new();
            while let Some(piece) = form.piece().await? {
                bytes.extend_from_slice(&piece);
            }
            all.push((part, bytes));
        }
        Ok(all)
    }

    const KIND: &str = "multipart/form-data; charset=x; boundary=\"b\"";

    #[tokio::test]
    async fn parts_are_read() {
        let body = b"before\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;\\\"b=\\c.txt\"\r\n\
            Content-Type: x\r\n\r\none\r\n--bone\r\n--\r\n--b  \r\ncontent-disposition: form-data; filename=x; name=file\r\n\r\n\r\n--b--\r\nafter";
        // `\r\n--bone` is the end of a part followed by no line: a boundary is never part of a file.
        assert!(read(KIND, body).await.is_err());
        let body = b"before\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a;\\\"b=\\c.txt\"\r\n\
            Content-Type: x\r\n\r\none\r\n--\r\n--b  \r\ncontent-disposition: form-data; filename=x; name=file\r\n\r\n\r\n--b--\r\nafter";
        let all = read(KIND, body).await.unwrap();
        let of = |file: &str| Part {
            name: "file".into(),
            file: Some(file.into()),
        };
        assert_eq!(
            all,
            [
                (of("a;\"b=\\c.txt"), b"one\r\n--".to_vec()),
                (of("x"), Vec::new())
            ]
        );
        assert_eq!(read(KIND, b"--b--").await.unwrap(), []);
    }

    #[tokio::test]
    async fn what_is_no_form_is_an_error() {
        for body in [
            &b""[..],
            b"--b",
            b"--b\r\n\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"x\r\n\r\n\r\n--b--",
            b"--b\r\nContent-Disposition: attachment; name=x\r\n\r\n\r\n--b--",
            b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\nbroke off",
            b"--b\r\nContent-Disposition: form-data; name=\xff\r\n\r\n\r\n--b--",
        ] {
            assert!(read(KIND, body).await.is_err(), "{body:?}");
        }
        static LONG: [u8; 100_000] = [b'x'; 100_000];
        assert!(read(KIND, &LONG).await.is_err());
        for kind in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a",
        ] {
            assert!(read(kind, b"--b--").await.is_err(), "{kind}");
        }
    }

    /// Gives what it has in pieces of these lengths, round and round.
    struct Pieces(Vec<u8>, Vec<usize>, usize);

    impl tokio::io::AsyncRead for Pieces {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let want = self.1[self.2 % self.1.len()];
            self.2 += 1;
            let n = want.min(buffer.remaining()).min(self.0.len());
            let piece: Vec<u8> = self.0.drain(..n).collect();
            buffer.put_slice(&piece);
            std::task::Poll::Ready(Ok(()))
        }
    }

    async fn pieces(body: Vec<u8>, lengths: Vec<usize>) -> io::Result<Vec<(Part, Vec<u8>)>> {
        let mut form = Form::new(KIND, Box::pin(Pieces(body, lengths, 0))).ok_or_else(broken)?;
        let mut all = Vec::new();
        while let Some(part) = form.next().await? {
            let mut bytes = Vec::new();
            while let Some(piece) = form.piece().await? {
                bytes.extend_from_slice(&piece);
            }
            all.push((part, bytes));
        }
        Ok(all)
    }

    fn now<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(work)
    }

    proptest::proptest! {
        /// However a form is cut, its files are what they were, line breaks and hyphens included.
        #[test]
        fn files_are_what_they_were(
            files in proptest::collection::vec(proptest::collection::vec(proptest::sample::select(b"\r\n-b\0x".to_vec()), 0..200), 0..5),
            lengths in proptest::collection::vec(1usize..50, 1..10),
        ) {
            let apart = |f: &Vec<u8>| memmem::find(f, b"\r\n--b").is_none();
            proptest::prop_assume!(files.iter().all(apart));
            let mut body = Vec::new();
            for file in &files {
                body.extend(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
                body.extend(file);
                body.extend(b"\r\n");
            }
            body.extend(b"--b--\r\n");
            let read: Vec<_> = now(pieces(body, lengths)).unwrap().into_iter().map(|(_, bytes)| bytes).collect();
            proptest::prop_assert_eq!(read, files);
        }

        /// Whatever comes is read to an end or refused.
        #[test]
        fn anything_comes_to_an_end(
            body in proptest::collection::vec(proptest::sample::select(b"\r\n-b:;=\"\\ content-disposition form-data name".to_vec()), 0..400),
            lengths in proptest::collection::vec(1usize..50, 1..4),
        ) {
            let _ = now(pieces(body, lengths));
        }
    }
}
