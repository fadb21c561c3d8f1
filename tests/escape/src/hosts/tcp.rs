//! A TCP listener, with or without TLS, that records every byte and answers by rule.
use super::{Arrivals, Running};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// The answer to the bytes of one request: parts, sent one after the other with a pause between them.
pub type Reply = Arc<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// An answer that says only that something listens here, and keeps the connection.
pub fn sink() -> Reply {
    Arc::new(|_| vec![b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserved".to_vec()])
}

/// A listener.
#[derive(Debug)]
pub struct TcpHost {
    /// What arrived.
    pub arrivals: Arrivals,
    /// Where it listens.
    pub address: SocketAddr,
}

impl TcpHost {
    /// Listens at a free port of `ip`.
    pub fn start(ip: IpAddr, tls: Option<Arc<ServerConfig>>, reply: Reply) -> io::Result<TcpHost> {
        let listener = TcpListener::bind((ip, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (arrivals, running) = (Arrivals::default(), Running::new());
        let (kept, go) = (arrivals.clone(), running.0.clone());
        thread::spawn(move || {
            while go.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let (kept, tls, reply) = (kept.clone(), tls.clone(), reply.clone());
                thread::spawn(move || serve(stream, &kept, tls, &reply));
            }
        });
        Ok(TcpHost {
            arrivals: arrivals.keeping(running),
            address,
        })
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The judge's sentence if anything at all connected.
    pub fn reached(&self, place: &str) -> Option<String> {
        (self.arrivals.count() > 0).then(|| format!("a connection arrived at {place}"))
    }
}

fn serve(stream: TcpStream, kept: &Arrivals, tls: Option<Arc<ServerConfig>>, reply: &Reply) {
    let entry = kept.begin();
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(800)));
    let _ = stream.set_write_timeout(Some(Duration::from_secs(3)));
    match tls {
        None => talk(stream, entry, kept, reply),
        Some(config) => {
            if let Ok(connection) = ServerConnection::new(config) {
                talk(StreamOwned::new(connection, stream), entry, kept, reply);
            }
        }
    }
}

/// Reads for up to eight seconds; answers once for every read that ends in a silence or a whole head.
fn talk(mut stream: impl Read + Write, entry: usize, kept: &Arrivals, reply: &Reply) {
    let end = Instant::now() + Duration::from_secs(8);
    let (mut buffer, mut pending) = (vec![0; 16384], Vec::new());
    while Instant::now() < end {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                let bytes = buffer.get(..n).unwrap_or_default();
                kept.add(entry, bytes);
                pending.extend_from_slice(bytes);
                if !pending.windows(4).any(|w| w == b"\r\n\r\n") {
                    continue;
                }
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if pending.is_empty() {
                    continue;
                }
            }
            Err(_) => break,
        }
        for part in reply(&pending) {
            if stream.write_all(&part).and_then(|()| stream.flush()).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(30));
        }
        pending.clear();
    }
}
