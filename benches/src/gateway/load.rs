//! The load: a closed-loop client that verifies every answer. The same program runs inside the sandbox and outside.
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::answer::Answers;
use crate::stats::Samples;

/// Longest time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests before a rate is counted: more than any burst that a proxy may allow itself.
const WARM_REQUESTS: u64 = 5_000;
/// Longest warm-up.
const WARM_TIME: Duration = Duration::from_secs(4);

/// One cipher suite, so that everybody pays for the same.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_256_GCM_SHA384];
    Arc::new(provider)
}

/// Nanoseconds of the host's monotonic clock, the same inside a sandbox.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// `load KIND NAME=VALUE…`: prints one line of JSON.
pub fn main(words: &[String]) -> Result<(), String> {
    let (kind, rest) = words.split_first().ok_or("`load` needs a kind")?;
    let load = Load::read(rest)?;
    let found = match kind.as_str() {
        "latency" => load.latency(),
        "rate" => load.rate(),
        "connections" => load.connections(),
        "events" => load.events(),
        "idle" => load.idle(),
        _ => Err(format!("`load {kind}`?")),
    }?;
    println!("{found}");
    Ok(())
}

struct Load {
    address: String,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    request: Vec<u8>,
    stream: Vec<u8>,
    bytes: usize,
    connections: usize,
    seconds: f64,
}

type Stream = Answers<StreamOwned<ClientConnection, TcpStream>>;

impl Load {
    fn read(words: &[String]) -> Result<Load, String> {
        let given: BTreeMap<&str, &str> = words.iter().filter_map(|word| word.split_once('=')).collect();
        let need = |name: &str| given.get(name).copied().ok_or(format!("`load` needs {name}=…"));
        let number = |name: &str| {
            need(name)?
                .parse::<f64>()
                .map_err(|_| format!("{name} is not a number"))
        };
        let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
        // Inside, both are where the sandbox says.
        let authority = given
            .get("ca")
            .map_or_else(|| variable("SSL_CERT_FILE"), |path| Ok((*path).to_owned()))?;
        let key = given
            .get("key")
            .map_or_else(|| variable("MODEL_API_KEY"), |key| Ok((*key).to_owned()))?;
        let host = need("host")?;
        let bytes = number("bytes")? as usize;
        let ask = |path: String| {
            format!(
                "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\naccept: */*\r\n\r\n"
            )
            .into_bytes()
        };
        Ok(Load {
            address: need("address")?.to_owned(),
            name: ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?,
            config: Arc::new(trusting(&authority)?),
            request: ask(format!("/plain/{bytes}")),
            stream: ask("/events".to_owned()),
            bytes,
            connections: number("connections")? as usize,
            seconds: number("seconds")?,
        })
    }

    fn connect(&self) -> Result<Stream, String> {
        let wrong = |error: std::io::Error| format!("connecting to {}: {error}", self.address);
        let stream = TcpStream::connect(&self.address).map_err(wrong)?;
        stream.set_nodelay(true).map_err(wrong)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
        let client = ClientConnection::new(self.config.clone(), self.name.clone())
            .map_err(|error| error.to_string())?;
        Ok(Answers::new(StreamOwned::new(client, stream)))
    }

    fn ask(&self, stream: &mut Stream) -> Result<(), String> {
        stream.ask(&self.request, self.bytes)
    }

    /// One connection, one request after another: microseconds.
    fn latency(&self) -> Result<Value, String> {
        let mut stream = self.connect()?;
        for _ in 0..100 {
            self.ask(&mut stream)?;
        }
        let mut times = Vec::new();
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < self.seconds {
            let before = Instant::now();
            self.ask(&mut stream)?;
            times.push(before.elapsed().as_secs_f64() * 1e6);
        }
        Ok(figures(Samples(times)))
    }

    /// Several connections, each one request after another: requests per second.
    fn rate(&self) -> Result<Value, String> {
        self.together(
            WARM_REQUESTS,
            || self.connect().map(Some),
            |stream| match stream {
                Some(stream) => self.ask(stream),
                None => Err("no connection".to_owned()),
            },
        )
    }

    /// Several at a time, each a new connection with a full handshake and one request: connections per second.
    fn connections(&self) -> Result<Value, String> {
        self.together(200, || Ok(None), |_| self.ask(&mut self.connect()?))
    }

    fn together(
        &self,
        warm: u64,
        begin: impl Fn() -> Result<Option<Stream>, String> + Sync,
        once: impl Fn(&mut Option<Stream>) -> Result<(), String> + Sync,
    ) -> Result<Value, String> {
        let (done, start) = (AtomicU64::new(0), Instant::now());
        let warmed = AtomicU64::new(0);
        let over = AtomicU64::new(0);
        let failed = thread::scope(|scope| {
            let workers: Vec<_> = (0..self.connections)
                .map(|_| {
                    scope.spawn(|| {
                        let mut state = begin()?;
                        while over.load(Ordering::Relaxed) == 0 {
                            once(&mut state)?;
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok::<(), String>(())
                    })
                })
                .collect();
            while done.load(Ordering::Relaxed) < warm
                && start.elapsed() < WARM_TIME
                && !workers.iter().all(|w| w.is_finished())
            {
                thread::sleep(Duration::from_millis(2));
            }
            warmed.store(done.load(Ordering::Relaxed), Ordering::Relaxed);
            let counted = Instant::now();
            thread::sleep(Duration::from_secs_f64(self.seconds));
            let count = done.load(Ordering::Relaxed) - warmed.load(Ordering::Relaxed);
            let rate = count as f64 / counted.elapsed().as_secs_f64();
            over.store(1, Ordering::Relaxed);
            for worker in workers {
                worker.join().map_err(|_| "a worker ended early".to_owned())??;
            }
            Ok::<f64, String>(rate)
        })?;
        Ok(json!({"per_second": failed, "warm_up": warmed.load(Ordering::Relaxed), "warm_up_wanted": warm}))
    }

    /// Streams one after another on one connection: microseconds that the first event of each was on its way.
    fn events(&self) -> Result<Value, String> {
        let mut stream = self.connect()?;
        let mut times = Vec::new();
        let start = Instant::now();
        for _ in 0..5 {
            stream.events(&self.stream)?;
        }
        while start.elapsed().as_secs_f64() < self.seconds {
            times.extend(stream.events(&self.stream)?);
        }
        Ok(figures(Samples(times)))
    }

    /// Opens connections, one request on each, says so, and holds them.
    fn idle(&self) -> Result<Value, String> {
        let mut held = Vec::new();
        for _ in 0..self.connections {
            let mut stream = self.connect()?;
            self.ask(&mut stream)?;
            held.push(stream);
        }
        println!("held");
        thread::sleep(Duration::from_secs_f64(self.seconds));
        // A connection that was closed meanwhile cost nothing, and must not count as one that was held.
        for stream in &mut held {
            self.ask(stream)?;
        }
        Ok(json!({"held": held.len()}))
    }
}

fn figures(samples: Samples) -> Value {
    json!({"count": samples.0.len(), "p50": samples.percentile(0.5), "p95": samples.percentile(0.95),
           "p99": samples.percentile(0.99), "least": samples.percentile(0.0)})
}

fn trusting(authority: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(authority).map_err(|error| format!("{authority}: {error}"))?;
    roots.add_parsable_certificates(found.filter_map(Result::ok));
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
