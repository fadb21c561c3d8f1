//! Which addresses may be dialled: not those that only this host or its network can reach, unless the operator named the host.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// From where an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Public,
    /// A private network.
    Private,
    Loopback,
    /// A link, a cloud's metadata service, or no host at all.
    Never,
}

/// From where an address can be reached.
pub(super) fn reach(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => v6(ip),
    }
}

fn v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        [127, ..] => Reach::Loopback,
        [0, ..] | [169, 254, ..] | [224..=255, ..] => Reach::Never,
        // Metadata services that are not on a link.
        [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Reach::Never,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] | [198, 18..=19, ..] => {
            Reach::Private
        }
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Private,
        _ => Reach::Public,
    }
}

fn v6(ip: Ipv6Addr) -> Reach {
    let [a, b, c, d, _, _, g, h] = ip.segments();
    let inner = |high: u16, low: u16| {
        let [[w, x], [y, z]] = [high.to_be_bytes(), low.to_be_bytes()];
        v4(Ipv4Addr::new(w, x, y, z))
    };
    if let Some(ip) = ip.to_ipv4_mapped() {
        return v4(ip);
    }
    match (a, b, c, d) {
        _ if ip.is_loopback() => Reach::Loopback,
        // AWS's metadata service, whatever else is private.
        (0xfd00, 0xec2, 0, 0) => Reach::Never,
        (0x64, 0xff9b, ..) => inner(g, h),
        (0x2002, ..) => inner(b, c),
        (0xfe80..=0xfebf | 0xff00.., ..) | (0, 0, 0, 0) => Reach::Never,
        (0xfc00..=0xfdff, ..) => Reach::Private,
        (0x2000..=0x3fff, ..) if (a, b) != (0x2001, 0xdb8) && (a, b) != (0x2001, 0) => Reach::Public,
        _ => Reach::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_addresses_lead() {
        for (text, expected) in [
            ("8.8.8.8", Reach::Public),
            ("2606:4700::1111", Reach::Public),
            ("127.0.0.53", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("64:ff9b::7f00:1", Reach::Loopback),
            ("2002:7f00:1::", Reach::Loopback),
            ("10.1.2.3", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fd12::1", Reach::Private),
            ("::ffff:192.168.1.1", Reach::Private),
            ("169.254.169.254", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("fe80::1", Reach::Never),
            ("100.100.100.200", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("::", Reach::Never),
            ("255.255.255.255", Reach::Never),
        ] {
            assert_eq!(reach(text.parse().unwrap()), expected, "{text}");
        }
    }
}
