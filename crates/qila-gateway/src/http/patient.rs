//! A connection to an upstream that may stop listening before it has answered: what it said by then is heard all the same.
//!
//! A server that refuses an upload answers and closes while the rest is still being written. The library would take the failed
//! write for the end of the exchange, and the answer, which has arrived, would be lost.
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is written to it once the other end is deaf goes nowhere; that there is no answer then shows in what is read.
pub(super) struct Patient<S> {
    inner: S,
    deaf: bool,
}

impl<S> Patient<S> {
    pub(super) fn new(inner: S) -> Patient<S> {
        Patient { inner, deaf: false }
    }

    /// What a write came to, where so much was to be written.
    fn after(&mut self, written: Poll<Result<usize>>, all: usize) -> Poll<Result<usize>> {
        match written {
            Poll::Ready(Err(e)) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.deaf = true;
                Poll::Ready(Ok(all))
            }
            other => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.after(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let all = bufs.iter().map(|b| b.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(all));
        }
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.after(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.inner).poll_flush(cx).map_ok(|()| 0);
        self.after(flushed, 0).map_ok(drop)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_was_said_before_the_end_is_heard() {
        let (mut theirs, ours) = tokio::io::duplex(16);
        theirs.write_all(b"an answer").await.unwrap();
        drop(theirs);
        let mut patient = Patient::new(ours);
        for _ in 0..3 {
            patient.write_all(&[0; 100]).await.unwrap();
            patient.flush().await.unwrap();
        }
        let mut said = String::new();
        patient.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "an answer");
    }
}
