//! The origin: TLS 1.3 and HTTP/1.1 on loopback, a thread for each connection. It answers only who brings the real credential.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::keys::{Keys, PLAIN_HOST};

/// The real credential, which the sandbox never holds.
pub const SECRET: &str = "sk-bench-0123456789abcdef";
/// What every body is made of.
pub const FILL: u8 = b'q';
/// Events of one stream.
pub const EVENTS: usize = 2;
/// Time between two of them, so that each travels by itself.
const PAUSE: Duration = Duration::from_millis(2);
const MAX_HEAD: usize = 16 << 10;
const MAX_BODY: usize = 1 << 20;

/// Starts it; it serves until this process ends.
pub fn start(keys: &Keys) -> Result<SocketAddr, String> {
    let config = Arc::new(config(keys)?);
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            let small = thread::Builder::new().stack_size(128 << 10);
            // A connection that gets no thread is closed, and its client reports that.
            let _ = small.spawn(move || serve(config, stream));
        }
    });
    Ok(address)
}

fn config(keys: &Keys) -> Result<ServerConfig, String> {
    let certificate = CertificateDer::from_pem_file(&keys.certificate).map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_file(&keys.key).map_err(|error| error.to_string())?;
    let mut config = ServerConfig::builder_with_provider(super::load::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// One request's first line, and whether the credential is right.
struct Asked {
    path: String,
    known: bool,
}

fn serve(config: Arc<ServerConfig>, stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let connection = ServerConnection::new(config).ok()?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let body = vec![FILL; MAX_BODY];
    loop {
        let asked = read(&mut stream)?;
        let out = stream.get_mut();
        let size = asked
            .path
            .strip_prefix("/plain/")
            .and_then(|text| text.parse().ok());
        if !asked.known {
            out.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
                .ok()?;
        } else if asked.path == "/events" {
            events(out)?;
        } else if let Some(body) = size.and_then(|size: usize| body.get(..size)) {
            let mut answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
                body.len()
            )
            .into_bytes();
            answer.extend_from_slice(body);
            out.write_all(&answer).ok()?;
        } else {
            out.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                .ok()?;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Asked> {
    let mut asked = Asked {
        path: String::new(),
        known: false,
    };
    let mut read = 0;
    let mut line = String::new();
    loop {
        line.clear();
        read += stream.by_ref().take(MAX_HEAD as u64).read_line(&mut line).ok()?;
        let text = line.trim_end();
        if line.is_empty() || read > MAX_HEAD {
            return None;
        } else if asked.path.is_empty() {
            text.split(' ').nth(1)?.clone_into(&mut asked.path);
        } else if text.is_empty() {
            return Some(asked);
        } else if let Some((name, value)) = text.split_once(':') {
            let (name, value) = (name.to_ascii_lowercase(), value.trim());
            asked.known |= name == "authorization" && value.strip_prefix("Bearer ") == Some(SECRET);
            asked.known |= name == "host" && value.starts_with(PLAIN_HOST);
        }
    }
}

/// Events that each say when they left, by a clock that the client reads too.
fn events(out: &mut impl Write) -> Option<()> {
    out.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )
    .ok()?;
    for _ in 0..EVENTS {
        thread::sleep(PAUSE);
        let event = format!("data: {}\n\n", super::load::now());
        out.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .ok()?;
    }
    out.write_all(b"0\r\n\r\n").ok()
}
