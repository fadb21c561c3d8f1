//! A UDP listener that records every datagram.
use super::{Arrivals, Running};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// A listener.
#[derive(Debug)]
pub struct UdpHost {
    /// What arrived.
    pub arrivals: Arrivals,
    /// Where it listens.
    pub address: SocketAddr,
}

impl UdpHost {
    /// Listens at a free port of `ip`.
    pub fn start(ip: IpAddr) -> io::Result<UdpHost> {
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let address = socket.local_addr()?;
        let (arrivals, running) = (Arrivals::default(), Running::new());
        let (kept, go) = (arrivals.clone(), running.0.clone());
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while go.load(Ordering::Relaxed) {
                if let Ok(n) = socket.recv(&mut buffer) {
                    let entry = kept.begin();
                    kept.add(entry, buffer.get(..n).unwrap_or_default());
                }
            }
        });
        Ok(UdpHost {
            arrivals: arrivals.keeping(running),
            address,
        })
    }
}
