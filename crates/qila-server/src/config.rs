//! What a server is started with.
use axum::Router;
use axum::response::Response;
use qila_api::{Node, SandboxId};
use qila_store::Store;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Done before a request is handed to port 49999 of a sandbox: what listens there is started, say.
pub type BeforePort =
    Arc<dyn Fn(SandboxId, u16) -> Pin<Box<dyn Future<Output = qila_api::Result<()>> + Send>> + Send + Sync>;

/// Why a request for a sandbox's port leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// There is no such sandbox.
    Sandbox,
    /// Nothing listens on the port.
    Port,
}

/// Answers such a request, in the words that its client knows.
pub type NotFound = Arc<dyn Fn(&str, u16, Missing) -> Response + Send + Sync>;

/// Takes one line of the log for each request, as a JSON object.
pub type Log = Arc<dyn Fn(&serde_json::Value) + Send + Sync>;

/// What a server is started with.
#[derive(Clone)]
pub struct Config {
    /// What is served.
    pub node: Arc<dyn Node>,
    /// Where keys, tenants and repeated requests are kept.
    pub store: Store,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Certificate chain and key, PEM files; none: no TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Lets it listen without TLS on addresses that others can reach.
    pub insecure: bool,
    /// `PORT-ID.DOMAIN` is a port of a sandbox; `PORT-ID.localhost` always is.
    pub domain: Option<String>,
    /// How long requests under way may go on after the end was asked for.
    pub drain: Duration,
    /// Bounds.
    pub limits: Limits,
    /// Serves port 49983 of every sandbox. Its requests have the [`SandboxId`] as an extension.
    pub envd: Option<Router>,
    /// Serves what no route of this crate is for.
    pub control: Option<Router>,
    /// Done before port 49999 is connected to.
    pub before_port: Option<BeforePort>,
    /// Answers for sandboxes and ports that are not there; none: JSON with `sandboxId`, `message` and `code`.
    pub not_found: Option<NotFound>,
    /// Takes the log.
    pub log: Option<Log>,
}

impl Config {
    /// On a free port of the loopback interface, everything else by default.
    pub fn new(node: Arc<dyn Node>, store: Store) -> Config {
        Config {
            node,
            store,
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            tls: None,
            insecure: false,
            domain: None,
            drain: Duration::from_secs(10),
            limits: Limits::default(),
            envd: None,
            control: None,
            before_port: None,
            not_found: None,
            log: None,
        }
    }
}

/// Bounds of a server. What is beyond one of the first three is answered 429 or waits to be accepted. Of the requests, one tenant
/// may have three quarters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Requests of `/v1` and the control plane at once, streams included.
    pub requests: usize,
    /// Requests to ports of sandboxes and to their files and processes at once, streams included.
    pub ports: usize,
    /// Requests per second that one tenant may make on average.
    pub rate: u32,
    /// Requests that one tenant may make at one moment.
    pub burst: u32,
    /// How long a client may take for the head of a request.
    pub head: Duration,
    /// Bytes that the head of a request may have.
    pub head_bytes: usize,
    /// How long a request may take that is neither a stream nor a program that runs.
    pub request: Duration,
    /// How long a body may stand still.
    pub idle: Duration,
    /// How long what a client still sends of a request that is answered already may take.
    pub rest: Duration,
    /// How long a program behind a port may take to be reached, and for the head of its answer.
    pub port_head: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 16_384,
            requests: 4_096,
            ports: 8_192,
            rate: 2_000,
            burst: 4_000,
            head: Duration::from_secs(15),
            head_bytes: 64 << 10,
            request: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            rest: Duration::from_millis(500),
            port_head: Duration::from_secs(600),
        }
    }
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Others could read along.
    #[error("{0} can be reached by others, and there is no TLS: keys would travel in the clear")]
    Clear(SocketAddr),
    /// There is nowhere to listen.
    #[error("no address to listen on")]
    Nowhere,
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key cannot be read.
    #[error("cannot read {}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate and the key do not go together.
    #[error("the certificate cannot be used")]
    Certificate(#[source] rustls::Error),
    /// The name cannot be part of a host name.
    #[error("`{0}` is no domain")]
    Domain(String),
}
