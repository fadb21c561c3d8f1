//! TLS towards upstreams: their certificates are verified against the host's authorities and the operator's own.
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::cell::OnceCell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connection::Destination;

/// Makes TLS connections. The host's authorities are read at the first.
#[derive(Debug)]
pub(crate) struct Outward {
    own: Vec<CertificateDer<'static>>,
    config: OnceCell<Arc<ClientConfig>>,
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
            config: OnceCell::new(),
        })
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
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
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }

    /// Makes a connection to a named host private, or says why not.
    pub(crate) async fn connect(
        &self,
        to: &Destination,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = match to {
            Destination::Name(name) => {
                ServerName::try_from(name.as_str().to_owned()).map_err(|e| e.to_string())?
            }
            Destination::Address(ip) => ServerName::from(IpAddr::to_owned(ip)),
        };
        let connector = TlsConnector::from(self.config()?);
        connector
            .connect(name, stream)
            .await
            .map_err(|e| format!("TLS with {to}: {e}"))
    }
}
