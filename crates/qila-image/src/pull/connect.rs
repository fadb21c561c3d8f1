//! Connections to registries: names are resolved here, and what is dialled is the address that was judged.
use super::address::{Reach, reach};
use super::error::PullError;
use super::{Options, host_of};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection may take to be there.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// A connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Makes connections.
pub(super) struct Connector {
    tls: TlsConnector,
    plain: Vec<String>,
    named: Vec<String>,
}

impl Connector {
    pub(super) fn new(options: &Options) -> Result<Connector, PullError> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = &options.ca {
            let wrong = |e: String| PullError::Options(format!("the registry's CA certificates: {e}"));
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
                roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| PullError::Options(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Connector {
            tls: TlsConnector::from(Arc::new(tls)),
            plain: options.plain_http.clone(),
            named: options.registries.clone(),
        })
    }

    /// The scheme for a registry: plain HTTP for those that the operator named so.
    pub(super) fn scheme(&self, host: &str) -> &'static str {
        if self.plain.iter().any(|p| p == host) {
            "http"
        } else {
            "https"
        }
    }

    /// Connects to the host of an address.
    pub(super) async fn connect(&self, uri: &Uri) -> Result<TokioIo<Box<dyn Wire>>, PullError> {
        let host = host_of(uri)?;
        let work = async {
            let plain = uri.scheme_str() == Some("http");
            let name = uri.host().unwrap_or_default();
            let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
            let addresses = self.resolve(&host, name, port, plain).await?;
            let tcp = dial(&host, &addresses).await?;
            let wire: Box<dyn Wire> = if plain {
                Box::new(tcp)
            } else {
                let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
                let failed = |why: String| PullError::Exchange {
                    host: host.clone(),
                    why,
                };
                let name = ServerName::try_from(name).map_err(|e| failed(e.to_string()))?;
                let tls = self.tls.connect(name, tcp).await;
                Box::new(tls.map_err(|e| failed(format!("TLS: {e}")))?)
            };
            Ok(TokioIo::new(wire))
        };
        let late = |_| PullError::Exchange {
            host: host.clone(),
            why: "no connection within 15 seconds".into(),
        };
        tokio::time::timeout(PATIENCE, work).await.map_err(late)?
    }

    async fn resolve(
        &self,
        host: &str,
        name: &str,
        port: u16,
        plain: bool,
    ) -> Result<Vec<SocketAddr>, PullError> {
        let forbidden = |why: &str| PullError::Forbidden {
            host: host.to_owned(),
            why: why.to_owned(),
        };
        let plain_named = self.plain.iter().any(|p| p == host);
        if plain && !plain_named {
            return Err(forbidden("it would be asked without TLS"));
        }
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((bare, port)).await;
        let found = found.map_err(|e| PullError::Exchange {
            host: host.to_owned(),
            why: e.to_string(),
        })?;
        let addresses: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
        let named = plain_named || self.named.iter().any(|n| n == host);
        // One address that is not allowed is enough: a name that leads to several places is nobody's mistake.
        for address in &addresses {
            match reach(address.ip()) {
                Reach::Loopback if named => {}
                _ if plain => return Err(forbidden("without TLS only this host's own loopback is asked")),
                Reach::Public => {}
                Reach::Private if named => {}
                Reach::Private => {
                    return Err(forbidden(
                        "its address is of a private network, and nobody named this registry",
                    ));
                }
                Reach::Loopback => {
                    return Err(forbidden(
                        "its address is this host's, and nobody named this registry",
                    ));
                }
                Reach::Never => return Err(forbidden("its address is of a link or of a metadata service")),
            }
        }
        if addresses.is_empty() {
            return Err(PullError::Exchange {
                host: host.to_owned(),
                why: "the name has no address".into(),
            });
        }
        Ok(addresses)
    }
}

async fn dial(host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, PullError> {
    let mut last = String::new();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(e) => last = e.to_string(),
        }
    }
    Err(PullError::Exchange {
        host: host.to_owned(),
        why: last,
    })
}
