//! The sandbox's own certificate authority: made for one run, known to nobody else, gone with the run.
use qila_policy::model::HostName;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// Most hosts whose certificates are kept.
const CACHE: usize = 256;
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Making or signing it failed.
    #[error("making a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS does not take it.
    #[error("using a certificate: {0}")]
    Use(#[from] rustls::Error),
}

/// The authority, with one key for all hosts beside its own.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    leaf: KeyPair,
    made: RefCell<HashMap<HostName, Arc<ServerConfig>>>,
}

impl Authority {
    /// Makes the keys.
    pub(crate) fn new() -> Result<Authority, CaError> {
        Authority::with(KeyPair::generate()?)
    }

    /// With a key that was made before: whoever trusts a certificate of that key trusts this authority.
    pub(crate) fn from_pem(key: &str) -> Result<Authority, CaError> {
        Authority::with(KeyPair::from_pem(key)?)
    }

    fn with(key: KeyPair) -> Result<Authority, CaError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Qila sandbox CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let (from, to) = validity();
        params.not_before = from.into();
        params.not_after = to.into();
        Ok(Authority {
            issuer: CertifiedIssuer::self_signed(params, key)?,
            leaf: KeyPair::generate()?,
            made: RefCell::default(),
        })
    }

    /// Its certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// What serves a host: its certificate and the key.
    pub(crate) fn serve(&self, host: &HostName) -> Result<Arc<ServerConfig>, CaError> {
        if let Some(made) = self.made.borrow().get(host) {
            return Ok(made.clone());
        }
        let mut params = CertificateParams::new(vec![host.as_str().to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "Qila gateway");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let (from, to) = validity();
        params.not_before = from.into();
        params.not_after = to.into();
        let certificate: CertificateDer<'static> = params.signed_by(&self.leaf, &self.issuer)?.der().clone();
        let key = PrivateKeyDer::try_from(self.leaf.serialize_der())
            .map_err(|e| rustls::Error::General(e.into()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.max_early_data_size = 0;
        let config = Arc::new(config);
        let mut made = self.made.borrow_mut();
        if made.len() >= CACHE {
            made.clear();
        }
        made.insert(host.clone(), config.clone());
        Ok(config)
    }
}

/// A new authority for a gateway that is started later: its key and its certificate, both as PEM.
pub fn authority() -> Result<(Zeroizing<String>, String), CaError> {
    let made = Authority::new()?;
    let key = Zeroizing::new(made.issuer.key().serialize_pem());
    Ok((key, made.pem()))
}

/// From an hour ago, for clocks that differ a little, for a year: longer than any run.
fn validity() -> (SystemTime, SystemTime) {
    let now = SystemTime::now();
    (
        now.checked_sub(HOUR).unwrap_or(now),
        now.checked_add(YEAR).unwrap_or(now),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_gets_one_certificate_and_two_runs_never_share_a_key() {
        let (one, two) = (Authority::new().unwrap(), Authority::new().unwrap());
        assert_ne!(one.pem(), two.pem());
        let (key, pem) = authority().unwrap();
        let again = Authority::from_pem(&key).unwrap();
        assert_ne!(again.pem(), pem, "another certificate of the same key");
        assert_eq!(
            again.issuer.key().public_key_raw(),
            Authority::from_pem(&key).unwrap().issuer.key().public_key_raw()
        );
        let host = HostName::parse("api.example.org").unwrap();
        let first = one.serve(&host).unwrap();
        assert!(Arc::ptr_eq(&first, &one.serve(&host).unwrap()));
        assert!(one.pem().starts_with("-----BEGIN CERTIFICATE-----"));
    }
}
