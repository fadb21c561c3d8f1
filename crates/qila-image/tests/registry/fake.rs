//! A registry that says what a test wants it to say.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a request gets, from its path and its head in lower case: the bytes of the whole answer.
pub type Say = Box<dyn Fn(&str, &str) -> Vec<u8> + Send + Sync>;

/// A registry on loopback, gone when it is dropped.
pub struct Fake {
    pub host: String,
    /// Heads of all requests, in lower case.
    pub asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Fake {
    pub fn start(say: Say) -> Fake {
        Fake::over(say, None)
    }

    pub fn over(say: Say, tls: Option<Arc<rustls::ServerConfig>>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        let say = Arc::new(say);
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (say, seen, tls) = (Arc::clone(&say), Arc::clone(&seen), tls.clone());
                std::thread::spawn(move || {
                    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    tcp.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
                    match tls {
                        None => serve(tcp, &say, &seen),
                        Some(config) => {
                            let tls = rustls::ServerConnection::new(config).unwrap();
                            serve(rustls::StreamOwned::new(tls, tcp), &say, &seen);
                        }
                    }
                });
            }
        });
        Fake { host, asked, stop }
    }

    pub fn heads(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.host);
    }
}

fn serve(mut wire: impl Read + Write, say: &Say, seen: &Mutex<Vec<String>>) {
    let (mut head, mut byte) = (Vec::new(), [0u8; 1]);
    while !head.ends_with(b"\r\n\r\n") {
        match wire.read(&mut byte) {
            Ok(1) if head.len() < 65_536 => head.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8(head).unwrap();
    let path = text.split(' ').nth(1).unwrap().to_owned();
    // The name in what authorises is told apart by case.
    let line = |l: &str| {
        if l.starts_with("authorization") {
            l.to_owned()
        } else {
            l.to_lowercase()
        }
    };
    let head: Vec<String> = text.lines().map(line).collect();
    seen.lock().unwrap().push(head.join("\n"));
    let _ = wire.write_all(&say(&path, &head.join("\n")));
    let _ = wire.flush();
}

pub fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend(body);
    out
}

pub fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "", body)
}

pub fn none() -> Vec<u8> {
    answer("404 Not Found", "", b"{}")
}

/// Blobs and manifests, by digest or tag.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// An honest registry of these.
pub fn honest(contents: Contents) -> Say {
    Box::new(move |path, _| {
        let name = path.rsplit('/').next().unwrap();
        contents.get(name).map_or_else(none, |bytes| ok(bytes))
    })
}
