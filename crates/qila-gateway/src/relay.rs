//! Bytes that pass untouched: from socket to socket through a pipe, never through this process's memory.
use crate::rate::Bucket;
use crate::spend::Spend;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io::{Error, Result};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes that one splice moves at most, and that a pipe is asked to hold.
const PIECE: usize = 256 * 1024;

/// Moves bytes both ways until both ends have closed, or one has failed.
pub(crate) async fn relay(
    agent: &TcpStream,
    upstream: &TcpStream,
    upload: Option<&Bucket>,
    download: Option<&Bucket>,
    spend: Option<&Spend>,
) -> Result<()> {
    tokio::try_join!(
        pump(agent, upstream, upload, spend),
        pump(upstream, agent, download, spend)
    )
    .map(drop)
}

async fn pump(from: &TcpStream, to: &TcpStream, rate: Option<&Bucket>, spend: Option<&Spend>) -> Result<()> {
    let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // An unprivileged user's pipes may be bounded; the pipe then stays as large as it is.
    let held = fcntl_setpipe_size(&into, PIECE).unwrap_or(64 * 1024);
    loop {
        let taken = take(from, &into, held).await?;
        if taken == 0 {
            return match shutdown(to, Shutdown::Write) {
                Ok(()) | Err(Errno::NOTCONN) => Ok(()),
                Err(e) => Err(e.into()),
            };
        }
        if let Some(spend) = spend {
            spend.bytes(taken).map_err(Error::other)?;
        }
        give(&out, to, taken).await?;
        crate::rate::take(rate, taken).await;
    }
}

async fn take(from: &TcpStream, into: &OwnedFd, most: usize) -> Result<usize> {
    loop {
        from.readable().await?;
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match from.try_io(Interest::READABLE, || {
            splice(from, None, into, None, most, flags).map_err(Error::from)
        }) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

async fn give(out: &OwnedFd, to: &TcpStream, mut left: usize) -> Result<()> {
    while left > 0 {
        to.writable().await?;
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match to.try_io(Interest::WRITABLE, || {
            splice(out, None, to, None, left, flags).map_err(Error::from)
        }) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(n) => left = left.saturating_sub(n),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (one, two) = tokio::join!(
            TcpStream::connect(listener.local_addr().unwrap()),
            listener.accept()
        );
        (one.unwrap(), two.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_an_end_passes_too() {
        let ((mut agent, inside), (outside, mut server)) = (pair().await, pair().await);
        let sent: Vec<u8> = (0..3_000_000u32).map(|i| i.to_le_bytes()[0]).collect();
        let copy = sent.clone();
        let relayed = async move { relay(&inside, &outside, None, None, None).await };
        let client = async move {
            let (mut read, mut write) = agent.split();
            let mut got = Vec::new();
            let send = async {
                write.write_all(&copy).await.unwrap();
                write.shutdown().await.unwrap();
            };
            tokio::join!(send, read.read_to_end(&mut got)).1.unwrap();
            got
        };
        let echo = async move {
            let mut got = Vec::new();
            server.read_to_end(&mut got).await.unwrap();
            server.write_all(&got).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let (relayed, got, ()) = tokio::join!(relayed, client, echo);
        relayed.unwrap();
        assert!(got == sent);
    }
}
