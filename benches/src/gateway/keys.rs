//! One authority and one server's certificate (ECDSA P-256), for the origin and for every peer alike.
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// The name that the load asks for.
pub const HOST: &str = "api.bench.test";
/// The same origin under a rule that reads requests and places no credential.
pub const PLAIN_HOST: &str = "plain.bench.test";

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The server's certificate.
    pub certificate: PathBuf,
    /// The server's key.
    pub key: PathBuf,
    /// Both in one file, as mitmproxy takes them.
    pub both: PathBuf,
}

impl Keys {
    /// Makes them in that folder.
    pub fn make(folder: &Path) -> Result<Keys, String> {
        let wrong = |error: rcgen::Error| format!("making certificates: {error}");
        let mut authority = CertificateParams::new(Vec::new()).map_err(wrong)?;
        // Two different names: else the server's certificate looks self-signed to OpenSSL.
        authority
            .distinguished_name
            .push(DnType::CommonName, "Qila bench CA");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(wrong)?).map_err(wrong)?;
        let key = KeyPair::generate().map_err(wrong)?;
        let names = [HOST, PLAIN_HOST, "localhost", "127.0.0.1"].map(str::to_owned);
        let mut server = CertificateParams::new(names).map_err(wrong)?;
        server.distinguished_name.push(DnType::CommonName, HOST);
        server.use_authority_key_identifier_extension = true;
        let certificate = server.signed_by(&key, &issuer).map_err(wrong)?.pem();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text)
                .map(|()| path.clone())
                .map_err(|error| format!("cannot write {}: {error}", path.display()))
        };
        let secret = key.serialize_pem();
        Ok(Keys {
            authority: write("ca.pem", &issuer.pem())?,
            certificate: write("server.pem", &certificate)?,
            key: write("server.key", &secret)?,
            both: write("both.pem", &format!("{secret}{certificate}"))?,
        })
    }
}
