//! A real server on loopback that stands for an API outside: TLS or in clear, remembering every request it got.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Got {
    pub line: String,
    /// Names in lower case. Those after the body are the last.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, v)| v.as_str())
    }

    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or("")
    }
}

/// Whatever a connection runs over.
pub trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

type Handler = dyn Fn(&Got, &mut dyn Wire) -> std::io::Result<()> + Send + Sync;

/// A running server.
pub struct Upstream {
    pub address: SocketAddr,
    pub(crate) got: Arc<Mutex<Vec<Got>>>,
    pub(crate) accepted: Arc<Mutex<usize>>,
    /// The certificate authority, as PEM.
    pub ca: String,
}

/// Answers a request with a body of known length.
pub fn answer(wire: &mut dyn Wire, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(
        wire,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    )?;
    wire.write_all(body)?;
    wire.flush()
}

impl Upstream {
    /// With a certificate for these names; none: in clear.
    pub fn start(
        names: &[&str],
        handler: impl Fn(&Got, &mut dyn Wire) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let accepted = Arc::new(Mutex::new(0));
        let (config, ca) = match names {
            [] => (None, String::new()),
            _ => {
                let (config, ca) = identity(names);
                (Some(config), ca)
            }
        };
        let (seen, count) = (got.clone(), accepted.clone());
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(10_000) {
                let (Ok(stream), config, seen, handler) =
                    (stream, config.clone(), seen.clone(), handler.clone())
                else {
                    continue;
                };
                *count.lock().unwrap() += 1;
                std::thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
                    let _ = serve(stream, config, &seen, &*handler);
                });
            }
        });
        Upstream {
            address,
            got,
            accepted,
            ca,
        }
    }

    /// One that answers every request with its own words.
    pub fn fixed(names: &[&str], body: &'static str) -> Upstream {
        Upstream::start(names, move |_, wire| answer(wire, "200 OK", "", body.as_bytes()))
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Connections that it accepted.
    pub fn accepted(&self) -> usize {
        *self.accepted.lock().unwrap()
    }

    /// As `--upstream` takes it.
    pub fn at(&self, name: &str) -> String {
        format!("{name}={}", self.address)
    }
}

pub(crate) fn identity(names: &[&str]) -> (Arc<ServerConfig>, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "an authority for tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names)
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.into())
        .unwrap();
    (Arc::new(config), ca.pem())
}

fn serve(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
    seen: &Mutex<Vec<Got>>,
    handler: &Handler,
) -> std::io::Result<()> {
    let mut wire: Box<dyn Wire> = match config {
        None => Box::new(stream),
        Some(config) => {
            let tls = ServerConnection::new(config).map_err(std::io::Error::other)?;
            Box::new(StreamOwned::new(tls, stream))
        }
    };
    while let Some(got) = request(&mut *wire)? {
        seen.lock().unwrap().push(got.clone());
        handler(&got, &mut *wire)?;
    }
    Ok(())
}

fn line(wire: &mut dyn Wire) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut one = [0u8];
    while bytes.len() < 65_536 && wire.read(&mut one)? == 1 {
        match one[0] {
            b'\n' => break,
            b => bytes.push(b),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

fn fields(wire: &mut dyn Wire) -> std::io::Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    loop {
        let text = line(wire)?;
        let Some((name, value)) = text.split_once(':') else {
            return Ok(all);
        };
        all.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn request(wire: &mut dyn Wire) -> std::io::Result<Option<Got>> {
    let mut got = Got {
        line: line(wire)?,
        ..Got::default()
    };
    if got.line.is_empty() {
        return Ok(None);
    }
    got.headers = fields(wire)?;
    if got.header("transfer-encoding") == Some("chunked") {
        loop {
            let length = usize::from_str_radix(&line(wire)?, 16).map_err(std::io::Error::other)?;
            let mut piece = vec![0; length];
            wire.read_exact(&mut piece)?;
            got.body.extend(piece);
            if length == 0 {
                got.headers.extend(fields(wire)?);
                return Ok(Some(got));
            }
            line(wire)?;
        }
    }
    let length = got
        .header("content-length")
        .and_then(|v| v.parse().ok())
        .unwrap_or(0);
    got.body = vec![0; length];
    wire.read_exact(&mut got.body)?;
    Ok(Some(got))
}
