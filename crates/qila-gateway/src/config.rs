//! What a gateway is started with.
use qila_policy::Permit;
use secrecy::SecretString;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

/// Sockets made inside the sandbox's network namespace and handed out.
#[derive(Debug)]
pub struct Listeners {
    /// Redirected TCP connections; the original destination is read with `SO_ORIGINAL_DST`.
    pub tcp: TcpListener,
    /// DNS over UDP.
    pub dns_udp: UdpSocket,
    /// DNS over TCP.
    pub dns_tcp: TcpListener,
}

/// A credential's real value and the placeholder the agent holds.
#[derive(Debug)]
pub struct Secret {
    /// Name in the policy.
    pub credential: String,
    /// The placeholder: at least 128 random bits, unique to the run.
    pub placeholder: String,
    /// The real value.
    pub value: SecretString,
}

/// The operator's own word on where a name is to be reached: beats resolution and the refusal of private addresses.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Host name as the agent uses it.
    pub name: String,
    /// Port as the agent uses it; none means any.
    pub port: Option<u16>,
    /// Where to dial.
    pub address: SocketAddr,
}

/// The per-sandbox certificate authority.
#[derive(Debug)]
pub struct Certificates {
    /// The CA certificate as PEM, for the sandbox's trust bundle.
    pub ca_pem: String,
}

/// What a gateway is started with.
#[derive(Debug)]
pub struct GatewayConfig {
    /// What is allowed.
    pub permit: Permit,
    /// Credentials in force.
    pub secrets: Vec<Secret>,
    /// Operator overrides of where names are.
    pub upstreams: Vec<Upstream>,
    /// Further CA certificates (PEM files) that upstreams are verified against, beside the host's.
    pub upstream_ca: Vec<PathBuf>,
}
