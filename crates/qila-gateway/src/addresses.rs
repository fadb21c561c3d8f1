//! Which addresses a name may lead to.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inner {
    /// Of this host, of this link, of a cloud's metadata service, or of no host at all: never dialled.
    Local,
    /// Of a private network: dialled only where the policy names the address itself.
    Private,
}

/// What kind of inner address this is; none for one of the public internet.
pub(crate) fn inner(ip: IpAddr) -> Option<Inner> {
    match ip {
        IpAddr::V4(v4) => inner_v4(v4),
        IpAddr::V6(v6) => inner_v6(v6),
    }
}

fn inner_v4(ip: Ipv4Addr) -> Option<Inner> {
    let [a, b, c, _] = ip.octets();
    // IANA's special-purpose registry (RFC 6890 and its updates).
    match (a, b, c) {
        (0 | 127, _, _) | (169, 254, _) | (224..=255, _, _) => Some(Inner::Local),
        // Alibaba's metadata service and others live in carrier-grade NAT's space.
        (100, 64..=127, _) => Some(Inner::Local),
        // Azure's wire server: reachable from any of its machines, and never from elsewhere.
        (168, 63, 129) if ip.octets()[3] == 16 => Some(Inner::Local),
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) | (198, 18 | 19, _) => {
            Some(Inner::Local)
        }
        (10, _, _) | (172, 16..=31, _) | (192, 168, _) => Some(Inner::Private),
        _ => None,
    }
}

fn inner_v6(ip: Ipv6Addr) -> Option<Inner> {
    let s = ip.segments();
    let embedded = |hi: u16, lo: u16| {
        let [a, b] = hi.to_be_bytes();
        let [c, d] = lo.to_be_bytes();
        inner_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // Unspecified, loopback, IPv4-compatible and IPv4-mapped: whatever the latter hold is asked for by another name.
        [0, 0, 0, 0, 0, 0 | 0xffff, _, _] => Some(Inner::Local),
        // NAT64 (well-known and local-use), 6to4: they lead where the embedded address leads.
        [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => embedded(hi, lo),
        [0x64, 0xff9b, 1, ..] => Some(Inner::Local),
        [0x2002, hi, lo, ..] => embedded(hi, lo),
        // Teredo, ORCHID, documentation, discard-only.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..] | [0x3fff, 0..=0xfff, ..] => {
            Some(Inner::Local)
        }
        // AWS's metadata service, then unique local, link-local, old site-local, multicast.
        [0xfd00, 0xec2, ..] => Some(Inner::Local),
        [0xfc00..=0xfdff, ..] => Some(Inner::Private),
        [0xfe80..=0xfeff, ..] | [0xff00..=0xffff, ..] => Some(Inner::Local),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_inner_address_is_known() {
        for (text, expected) in [
            ("127.0.0.1", Some(Inner::Local)),
            ("0.0.0.0", Some(Inner::Local)),
            ("169.254.169.254", Some(Inner::Local)),
            ("100.100.100.200", Some(Inner::Local)),
            ("168.63.129.16", Some(Inner::Local)),
            ("198.18.0.1", Some(Inner::Local)),
            ("255.255.255.255", Some(Inner::Local)),
            ("10.0.0.1", Some(Inner::Private)),
            ("172.31.255.255", Some(Inner::Private)),
            ("172.32.0.1", None),
            ("192.168.1.1", Some(Inner::Private)),
            ("8.8.8.8", None),
            ("::", Some(Inner::Local)),
            ("::1", Some(Inner::Local)),
            ("::ffff:8.8.8.8", Some(Inner::Local)),
            ("::ffff:169.254.169.254", Some(Inner::Local)),
            ("::127.0.0.1", Some(Inner::Local)),
            ("64:ff9b::a9fe:a9fe", Some(Inner::Local)),
            ("64:ff9b::808:808", None),
            ("2002:7f00:1::", Some(Inner::Local)),
            ("fd00:ec2::254", Some(Inner::Local)),
            ("fd12::1", Some(Inner::Private)),
            ("fe80::1", Some(Inner::Local)),
            ("ff02::1", Some(Inner::Local)),
            ("2606:4700::1111", None),
        ] {
            assert_eq!(inner(text.parse().unwrap()), expected, "{text}");
        }
    }
}
