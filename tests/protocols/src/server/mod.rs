//! The scripted upstream: every name of the matrix, on loopback, in TLS and in clear, which records what arrives.
mod coding;
mod events;
mod grpc;
mod leak;
mod mcp;
mod models;
mod plain;
mod raw;
mod record;
mod serve;
mod tls;
mod websocket;

pub use leak::{ENCODINGS, ODD, POSITIONS, encode};
pub use models::Usage;
pub use record::{Record, Records};

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc::UnboundedSender;

/// Name of the server that lies; it has a listener of its own.
pub const LIAR: &str = "lies.test";

/// What all connections share.
pub(crate) struct Shared {
    /// What arrived.
    pub(crate) records: Records,
    /// The real values of the credentials, by host.
    pub(crate) keys: HashMap<String, String>,
    /// What the model APIs said was used.
    pub(crate) usage: Mutex<Vec<Usage>>,
    /// Streams that wait for an acknowledgement of each event, by case.
    pub(crate) waiting: Mutex<HashMap<String, UnboundedSender<u64>>>,
    /// Answers of MCP clients to the server's own requests, by request id.
    pub(crate) asked: Mutex<HashMap<String, tokio::sync::oneshot::Sender<serde_json::Value>>>,
}

/// The running server. It lives as long as the process.
pub struct Server {
    /// Where it speaks TLS.
    pub tls: SocketAddr,
    /// Where it speaks in clear.
    pub clear: SocketAddr,
    /// Where it lies, in TLS.
    pub liar: SocketAddr,
    /// The authority that signed its certificate.
    pub authority: String,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts it for these names. `keys`: the real value that each host insists on.
    pub fn start(names: &[&str], keys: &[(&str, &str)]) -> io::Result<Server> {
        let (config, authority) = tls::config(names)?;
        let listen = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            Ok::<_, io::Error>((listener.local_addr()?, listener))
        };
        let (secure, clear, liar) = (listen()?, listen()?, listen()?);
        let shared = Arc::new(Shared {
            records: Records::default(),
            keys: keys
                .iter()
                .map(|(host, key)| ((*host).to_owned(), (*key).to_owned()))
                .collect(),
            usage: Mutex::default(),
            waiting: Mutex::default(),
            asked: Mutex::default(),
        });
        let server = Server {
            tls: secure.0,
            clear: clear.0,
            liar: liar.0,
            authority,
            shared: Arc::clone(&shared),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("upstream".into())
            .spawn(move || {
                runtime.block_on(async {
                    let secure = serve::accept(secure.1, Some(Arc::clone(&config)), Arc::clone(&shared));
                    let clear = serve::accept(clear.1, None, Arc::clone(&shared));
                    let lies = raw::accept(liar.1, config, shared);
                    tokio::join!(secure, clear, lies)
                })
            })?;
        Ok(server)
    }

    /// What arrived so far.
    pub fn records(&self) -> Vec<Record> {
        self.shared.records.all()
    }

    /// What the model APIs said was used so far.
    pub fn usage(&self) -> Vec<Usage> {
        self.shared.usage.lock().map(|u| u.clone()).unwrap_or_default()
    }
}

impl Shared {
    /// The key that this host insists on.
    pub(crate) fn key(&self, host: &str) -> &str {
        self.keys.get(host).map_or("", String::as_str)
    }
}
