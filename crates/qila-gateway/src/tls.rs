//! TLS towards upstreams: their certificates are verified against the host's authorities and the operator's own.
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::cell::OnceCell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::destination::Destination;

/// Makes TLS connections. The host's authorities are read at the first.
#[derive(Debug)]
pub(crate) struct Outward {
    own: Vec<CertificateDer<'static>>,
    /// For HTTP/1.1 alone, and for HTTP/2 or 1.1 as the upstream likes.
    configs: OnceCell<[Arc<ClientConfig>; 2]>,
}

impl Outward {
    /// Reads the operator's own authorities, which must be readable and hold at least one certificate each.
    pub(crate) fn new(files: &[PathBuf]) -> Result<Outward, String> {
        let mut own = Vec::new();
        for file in files {
            let wrong = |e: String| format!("reading certificates from {}: {e}", file.display());
            let found = CertificateDer::pem_file_iter(file).map_err(|e| wrong(e.to_string()))?;
            let before = own.len();
            for certificate in found {
                own.push(certificate.map_err(|e| wrong(e.to_string()))?);
            }
            if own.len() == before {
                return Err(wrong("there is none".into()));
            }
        }
        Ok(Outward {
            own,
            configs: OnceCell::new(),
        })
    }

    fn config(&self, http2: bool) -> Result<Arc<ClientConfig>, String> {
        let one = |[old, new]: &[Arc<ClientConfig>; 2]| if http2 { new.clone() } else { old.clone() };
        if let Some(configs) = self.configs.get() {
            return Ok(one(configs));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for certificate in &self.own {
            roots.add(certificate.clone()).map_err(|e| e.to_string())?;
        }
        if roots.is_empty() {
            return Err("this host has no certificate authorities: install ca-certificates".into());
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut both = config.clone();
        both.alpn_protocols.insert(0, b"h2".to_vec());
        let configs = [Arc::new(config), Arc::new(both)];
        Ok(one(self.configs.get_or_init(|| configs)))
    }

    /// Makes a connection to a named host private, or says why not. HTTP/2 is spoken where it may be and the upstream can.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        to: &Destination,
        stream: S,
        http2: bool,
    ) -> Result<TlsStream<S>, String> {
        let name = match to {
            Destination::Name(name) => {
                ServerName::try_from(name.as_str().to_owned()).map_err(|e| e.to_string())?
            }
            Destination::Address(ip) => ServerName::from(IpAddr::to_owned(ip)),
        };
        let connector = TlsConnector::from(self.config(http2)?);
        connector
            .connect(name, stream)
            .await
            .map_err(|e| format!("TLS with {to}: {e}"))
    }
}
