//! Unix listeners, by path or by abstract name, stream and datagram.
use super::{Arrivals, Running};
use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// A listener.
#[derive(Debug)]
pub struct UnixHost {
    /// What arrived.
    pub arrivals: Arrivals,
}

impl UnixHost {
    /// A stream listener at a path that anyone may connect to.
    pub fn at_path(path: &Path) -> io::Result<UnixHost> {
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o777))?;
        UnixHost::stream(listener)
    }

    /// A datagram listener at a path that anyone may send to.
    pub fn datagram(path: &Path) -> io::Result<UnixHost> {
        let socket = UnixDatagram::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o777))?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
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
        Ok(UnixHost {
            arrivals: arrivals.keeping(running),
        })
    }

    /// A stream listener at an abstract name.
    pub fn at_name(name: &str) -> io::Result<UnixHost> {
        UnixHost::stream(UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?)
    }

    fn stream(listener: UnixListener) -> io::Result<UnixHost> {
        listener.set_nonblocking(true)?;
        let (arrivals, running) = (Arrivals::default(), Running::new());
        let (kept, go) = (arrivals.clone(), running.0.clone());
        thread::spawn(move || {
            while go.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let kept = kept.clone();
                thread::spawn(move || {
                    let entry = kept.begin();
                    let _ = stream.set_nonblocking(false);
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                    let mut buffer = [0; 2048];
                    while let Ok(n) = stream.read(&mut buffer) {
                        if n == 0 {
                            break;
                        }
                        kept.add(entry, buffer.get(..n).unwrap_or_default());
                    }
                });
            }
        });
        Ok(UnixHost {
            arrivals: arrivals.keeping(running),
        })
    }
}
