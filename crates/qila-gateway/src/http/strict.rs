//! Reads the agent's side of an HTTP connection before the HTTP library does, and lets pass only what has one meaning.
use qila_inspect::request::{Chunks, Framing, HeadReader, RawHead};
use std::cell::Cell;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at once while a head is awaited.
const PIECE: usize = 8 * 1024;

/// What was wrong with the bytes, for who answers in place of the library.
pub(crate) type Flaw = Rc<Cell<Option<&'static str>>>;

/// Where in a request the bytes are.
enum State {
    Head(HeadReader),
    /// A body with this much to come.
    Length(u64),
    Chunked(Chunks),
    Refused,
}

/// A stream of requests, each judged byte by byte before it is read.
pub(crate) struct Strict<S> {
    inner: S,
    state: State,
    /// Bytes that were read and not given yet.
    held: Vec<u8>,
    /// How many of them are judged.
    judged: usize,
    flaw: Flaw,
}

impl<S> Strict<S> {
    /// Sets `flaw` and fails to read once a request is not what it should be.
    pub(crate) fn new(inner: S, flaw: Flaw) -> Strict<S> {
        Strict {
            inner,
            state: State::Head(HeadReader::default()),
            held: Vec::new(),
            judged: 0,
            flaw,
        }
    }

    /// The stream beneath, and what was read of it and not given.
    pub(crate) fn into_parts(self) -> (S, Vec<u8>) {
        (self.inner, self.held)
    }

    fn refuse<T>(&mut self, why: &'static str) -> Result<T> {
        self.state = State::Refused;
        self.flaw.set(Some(why));
        Err(Error::new(ErrorKind::InvalidData, why))
    }

    /// Judges what is held. False: nothing of it can be given before more is there.
    fn judge(&mut self) -> Result<bool> {
        loop {
            match &mut self.state {
                State::Head(reader) if !self.held.is_empty() => match reader.read(&self.held) {
                    RawHead::Incomplete => return Ok(false),
                    RawHead::Malformed(why) => return self.refuse(why),
                    RawHead::Complete { len } => {
                        let head = self.held.get(..len).unwrap_or(&self.held);
                        self.state = match Framing::of(head) {
                            Framing::Length(length) => State::Length(length),
                            Framing::Chunked => State::Chunked(Chunks::default()),
                        };
                        self.judged = len;
                        return Ok(true);
                    }
                },
                State::Length(0) => self.state = State::Head(HeadReader::default()),
                State::Length(left) if !self.held.is_empty() => {
                    self.judged = self.held.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= self.judged as u64;
                    return Ok(true);
                }
                State::Chunked(chunks) if chunks.ended() => self.state = State::Head(HeadReader::default()),
                State::Chunked(chunks) if !self.held.is_empty() => match chunks.take(&self.held) {
                    Ok(n) => {
                        self.judged = n;
                        return Ok(true);
                    }
                    Err(why) => return self.refuse(why),
                },
                State::Refused => return Err(ErrorKind::InvalidData.into()),
                State::Head(_) | State::Length(_) | State::Chunked(_) => return Ok(false),
            }
        }
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.judged.min(buf.remaining());
        buf.put_slice(self.held.get(..n).unwrap_or(&[]));
        self.held.drain(..n);
        self.judged -= n;
    }
}

impl<S: AsyncRead + Unpin> Strict<S> {
    /// The body of a request goes straight to who reads it.
    fn body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let most = match self.state {
            State::Length(left) => usize::try_from(left).unwrap_or(usize::MAX).min(buf.remaining()),
            _ => buf.remaining(),
        };
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        let used = match &mut self.state {
            State::Length(left) => {
                *left -= read as u64;
                read
            }
            State::Chunked(chunks) => match chunks.take(part.filled()) {
                Ok(used) => used,
                Err(why) => return Poll::Ready(self.refuse(why)),
            },
            State::Head(_) | State::Refused => 0,
        };
        // What follows a chunked body is the next request's.
        self.held.extend(part.filled().get(used..).unwrap_or(&[]));
        buf.advance(used);
        Poll::Ready(Ok(()))
    }

    fn more(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        let mut piece = [0u8; PIECE];
        let mut part = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        self.held.extend(part.filled());
        Poll::Ready(Ok(part.filled().len()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        loop {
            if this.judged > 0 || buf.remaining() == 0 {
                this.give(buf);
                return Poll::Ready(Ok(()));
            }
            if this.judge()? {
                continue;
            }
            match this.state {
                State::Head(_) => {
                    if ready!(this.more(cx))? == 0 {
                        return Poll::Ready(Ok(())); // an end between requests, or within a head, which nobody answers
                    }
                }
                _ => return this.body(cx, buf),
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self.state {
            State::Refused => Poll::Ready(Ok(())), // there is still something to say
            _ => Pin::new(&mut self.inner).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What is read of bytes that arrive in pieces of a size, and what was wrong.
    async fn through(bytes: &[u8], piece: usize) -> (Vec<u8>, Option<&'static str>) {
        let (mut agent, ours) = tokio::io::duplex(64);
        let flaw = Flaw::default();
        let mut strict = Strict::new(ours, flaw.clone());
        let bytes = bytes.to_vec();
        let send = async move {
            for part in bytes.chunks(piece) {
                if agent.write_all(part).await.is_err() {
                    return;
                }
            }
        };
        let mut got = Vec::new();
        let receive = async {
            let mut buffer = [0u8; 50];
            while let Ok(n @ 1..) = strict.read(&mut buffer).await {
                got.extend(&buffer[..n]);
            }
            drop(strict);
        };
        tokio::join!(send, receive);
        (got, flaw.get())
    }

    #[tokio::test]
    async fn good_requests_pass_unchanged_however_they_are_cut() {
        let good = b"POST /a HTTP/1.1\r\nHost: a.org\r\nContent-Length: 12\r\n\r\nhello, world\
            POST /b HTTP/1.1\r\nHost: a.org\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
            GET /c HTTP/1.1\r\nHost: a.org\r\n\r\n";
        for piece in [1, 2, 7, 64, 1000] {
            let (got, flaw) = through(good, piece).await;
            assert_eq!(
                (String::from_utf8_lossy(&got), flaw),
                (String::from_utf8_lossy(good), None),
                "{piece}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_of_a_second_request_hidden_in_a_first_passes() {
        for (bytes, passes) in [
            (&b"POST / HTTP/1.1\r\nHost: a.org\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"[..], ""),
            (b"GET / HTTP/1.1\nHost: a.org\n\n", ""),
            (b"GET / HTTP/1.1\r\nHost: a.org\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.org\r\nHost: b.org\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.org\r\n\r\n"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        ] {
            for piece in [1, 1000] {
                let (got, flaw) = through(bytes, piece).await;
                assert_eq!(String::from_utf8_lossy(&got), passes);
                assert!(flaw.is_some(), "{:?}", String::from_utf8_lossy(bytes));
            }
        }
    }
}
