//! `host` and `host:port`, as in a Host field and a request target.
use super::HeadError;
use qila_policy::model::HostName;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who a request is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, in canonical form.
    Name(HostName),
    /// An address. IPv4 in dotted form only; the other spellings are refused.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(f),
            Host::Address(IpAddr::V4(ip)) => ip.fmt(f),
            Host::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// Parses `host` or `host:port`.
pub(super) fn parse(text: &[u8]) -> Result<(Host, Option<u16>), HeadError> {
    let text = str::from_utf8(text).map_err(|_| HeadError::BadHost)?;
    if text.contains('@') {
        return Err(HeadError::Userinfo);
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']').ok_or(HeadError::BadHost)?;
            let ip: Ipv6Addr = inside.parse().map_err(|_| HeadError::BadHost)?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or(HeadError::BadHost)?),
            };
            (Host::Address(ip.into()), port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            let address = host.parse::<Ipv4Addr>().ok().map(|ip| Host::Address(ip.into()));
            let named = || HostName::parse(host).map(Host::Name);
            (address.or_else(named).ok_or(HeadError::BadHost)?, port)
        }
    };
    Ok((host, port.map(self::port).transpose()?))
}

/// Digits only: the standard parser would also take `+80`.
fn port(text: &str) -> Result<u16, HeadError> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&port| digits && port != 0)
        .ok_or(HeadError::BadHost)
}

/// Whether a target's authority and a Host field mean the same. A port that one leaves out is `default`.
pub(super) fn agree(target: &(Host, Option<u16>), field: &(Host, Option<u16>), default: Option<u16>) -> bool {
    target.0 == field.0 && target.1.or(default) == field.1.or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_plain_addresses() {
        for (text, shown, port) in [
            ("Example.org", "example.org", None),
            ("example.org.:8080", "example.org", Some(8080)),
            ("192.0.2.1:443", "192.0.2.1", Some(443)),
            ("[2001:DB8::1]", "[2001:db8::1]", None),
            ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]", Some(1)),
        ] {
            let (host, got) = parse(text.as_bytes()).unwrap();
            assert_eq!((host.to_string().as_str(), got), (shown, port), "{text}");
        }
    }

    #[test]
    fn odd_hosts_are_refused() {
        for text in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:8 0",
            "a:80:80",
            "2130706433",
            "0x7f.1",
            "127.1",
            "0177.0.0.1",
            "::1",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[fe80::1%eth0]",
            "[127.0.0.1]",
            "a b",
            "a/b",
            "a,b",
            "a..b",
            "-a",
            "*.a",
            "é.org",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(HeadError::BadHost), "{text}");
        }
        assert_eq!(parse(b"u:p@a"), Err(HeadError::Userinfo));
        assert_eq!(parse(b"\xff"), Err(HeadError::BadHost));
    }
}
