//! Files that Qila provides.
use qila_plan::Injected;
use std::path::Path;

const RESOLV_CONF: &[u8] = b"nameserver 127.0.0.1\noptions timeout:5 attempts:2\n";
const HOSTS: &[u8] = b"127.0.0.1 localhost\n::1 localhost ip6-localhost\n";

/// What is in one. `ca` is the sandbox's CA certificate, where there is one.
pub(super) fn of(content: Injected, ca: &[u8]) -> Vec<u8> {
    match content {
        Injected::CaCertificate => ca.to_vec(),
        Injected::CaBundle => host_bundle(ca),
        Injected::ResolvConf => RESOLV_CONF.to_vec(),
        Injected::Hosts => HOSTS.to_vec(),
    }
}

/// The host's bundle with the sandbox's CA behind it. The bundle of the view's own base comes first where it has one.
fn host_bundle(ca: &[u8]) -> Vec<u8> {
    const KNOWN: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let mut bytes = KNOWN
        .iter()
        .find_map(|p| std::fs::read(Path::new(p)).ok())
        .unwrap_or_default();
    if !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend(ca);
    bytes
}
