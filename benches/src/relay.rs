//! The yardstick for bulk TCP: a source, and a relay that does nothing but splice.
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

/// Listens on loopback and serves each connection on a thread of its own, until this process ends.
fn serve(each: impl Fn(TcpStream) + Send + Clone + 'static) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = each.clone();
            thread::spawn(move || each(stream));
        }
    });
    Ok(address)
}

/// What a client says before the source sends, as a client of nearly every protocol speaks first.
pub const REQUEST: &[u8; 4] = b"go!\n";

/// A source that sends so many bytes to whoever connects and asks.
pub fn source(bytes: u64) -> std::io::Result<SocketAddr> {
    serve(move |mut stream| {
        if stream.read_exact(&mut [0; REQUEST.len()]).is_err() {
            return;
        }
        let block = vec![0x5a_u8; 1 << 18];
        let mut left = bytes;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            if block
                .get(..count)
                .is_none_or(|part| stream.write_all(part).is_err())
            {
                return;
            }
            left -= count as u64;
        }
    })
}

/// A relay to `upstream`, both ways.
pub fn relay(upstream: SocketAddr) -> std::io::Result<SocketAddr> {
    serve(move |stream| {
        if let Ok(source) = TcpStream::connect(upstream) {
            thread::scope(|scope| {
                scope.spawn(|| pump(&stream, &source));
                // The other end closing early is how a reader says that it has enough.
                let _ = pump(&source, &stream);
                // The way back ends with it.
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    })
}

/// Moves bytes through a pipe until the source ends; none of them enters this process.
fn pump(from: &TcpStream, to: &TcpStream) -> rustix::io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
    // A larger pipe means fewer calls; where the host forbids it the default does.
    let _ = rustix::pipe::fcntl_setpipe_size(&into, CHUNK);
    let flags = SpliceFlags::MOVE;
    loop {
        let mut left = splice(from, None, &into, None, CHUNK, flags)?;
        if left == 0 {
            return Ok(());
        }
        while left > 0 {
            left -= splice(&out, None, to, None, left, flags)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives_through_the_relay() {
        let bytes = 3_000_001;
        let address = relay(source(bytes).expect("source")).expect("relay");
        let mut got = Vec::new();
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(REQUEST).expect("write");
        stream.read_to_end(&mut got).expect("read");
        assert_eq!(got.len() as u64, bytes);
        assert!(got.iter().all(|byte| *byte == 0x5a));
    }
}
