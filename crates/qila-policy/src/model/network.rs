//! What of the network is reached. Nothing, unless a rule names it.
use super::rule::NetRule;
use ipnet::IpNet;
use qila_types::{Flow, Rate};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;

/// The `network` clause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Network {
    /// What is allowed; empty means that no gateway exists and nothing leaves.
    pub allow: Vec<NetRule>,
    /// Rates over the whole sandbox.
    pub rates: NetworkRates,
    /// Whether programs inside may talk to each other over the sandbox's own loopback.
    pub loopback: bool,
    /// Whether programs inside may make unix sockets; undecided, they may unless they write a directory of the host itself,
    /// where a program of the host may come to listen at any time.
    pub unix_sockets: Option<bool>,
}

/// Rates over the whole sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct NetworkRates {
    /// New connections.
    pub connections: Option<Rate>,
    /// HTTP requests.
    pub requests: Option<Rate>,
    /// Bytes sent by the agent.
    pub upload: Option<Flow>,
    /// Bytes received by the agent.
    pub download: Option<Flow>,
}

/// A host name in canonical form: lower-case ASCII (IDNA A-labels), no trailing dot, 1 to 253 bytes, labels of 1 to 63.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// Parses and canonicalises. An address, in any of its spellings, is not a name.
    pub fn parse(text: &str) -> Option<HostName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let ok = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if text.is_empty() || text.len() > 253 || !text.split('.').all(ok) {
            return None;
        }
        // A last label of digits, or in 0x form, is how decimal, octal and hexadecimal addresses are spelled.
        let last = text.rsplit('.').next().unwrap_or(text).to_ascii_lowercase();
        let numeric = last.bytes().all(|b| b.is_ascii_digit())
            || last
                .strip_prefix("0x")
                .is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        (!numeric).then(|| HostName(text.to_ascii_lowercase()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which hosts a rule or a credential names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// One name.
    Exact(HostName),
    /// `*.example.org`: every name beneath, at any depth, but not `example.org` itself.
    Beneath(HostName),
    /// Addresses, for clients that connect without a name. Always passed through, never intercepted.
    Net(IpNet),
}

/// Why a text is not a [`HostPattern`].
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a host: expected a name, `*.name`, an address or a network such as `192.0.2.0/24`")]
pub struct HostPatternError(pub String);

impl HostPattern {
    /// Parses the text form.
    pub fn parse(text: &str) -> Result<HostPattern, HostPatternError> {
        let err = || HostPatternError(text.chars().take(64).collect());
        if let Some(rest) = text.strip_prefix("*.") {
            // `*.com` would name half the world: at least two labels are asked for.
            let name = HostName::parse(rest).filter(|n| n.as_str().contains('.'));
            return name.map(HostPattern::Beneath).ok_or_else(err);
        }
        if let Ok(net) = text.parse::<IpNet>() {
            return if net.trunc() == net {
                Ok(HostPattern::Net(net))
            } else {
                Err(err())
            };
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(HostPattern::Net(IpNet::from(ip)));
        }
        HostName::parse(text).map(HostPattern::Exact).ok_or_else(err)
    }

    /// Whether the pattern names this host.
    pub fn matches_name(&self, name: &HostName) -> bool {
        match self {
            HostPattern::Exact(own) => own == name,
            HostPattern::Beneath(own) => name
                .as_str()
                .strip_suffix(own.as_str())
                .is_some_and(|head| head.ends_with('.') && head.len() > 1),
            HostPattern::Net(_) => false,
        }
    }

    /// Whether the pattern names this address.
    pub fn matches_ip(&self, ip: IpAddr) -> bool {
        matches!(self, HostPattern::Net(net) if net.contains(&ip))
    }

    /// Whether some host is named by both.
    pub fn overlaps(&self, other: &HostPattern) -> bool {
        // Names nest and networks nest: two that share a host are one within the other.
        self.covers(other) || other.covers(self)
    }

    /// Whether every host that `other` names is also named by this pattern.
    pub fn covers(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Net(a), HostPattern::Net(b)) => a.contains(b),
            (own, HostPattern::Exact(name)) => own.matches_name(name),
            (HostPattern::Beneath(a), HostPattern::Beneath(b)) => a == b || self.matches_name(b),
            _ => false,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Exact(name) => write!(f, "{name}"),
            HostPattern::Beneath(name) => write!(f, "*.{name}"),
            HostPattern::Net(net) if net.prefix_len() == net.max_prefix_len() => write!(f, "{}", net.addr()),
            HostPattern::Net(net) => write!(f, "{net}"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_canonical_and_addresses_are_not_names() {
        assert_eq!(
            HostName::parse("API.Example.org.").unwrap().as_str(),
            "api.example.org"
        );
        for bad in [
            "",
            ".",
            "a..b",
            "2130706433",
            "0x7f000001",
            "127.1",
            "0177.0.0.1",
            "a b",
            "-x.org",
            "::1",
            "a/b",
        ] {
            assert!(HostName::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn patterns_match_what_they_say() {
        let beneath = HostPattern::parse("*.example.org").unwrap();
        let name = |t: &str| HostName::parse(t).unwrap();
        assert!(beneath.matches_name(&name("a.example.org")));
        assert!(beneath.matches_name(&name("a.b.example.org")));
        assert!(!beneath.matches_name(&name("example.org")));
        assert!(!beneath.matches_name(&name("badexample.org")));
        assert!(HostPattern::parse("*.org").is_err());
        assert!(HostPattern::parse("10.0.0.1/8").is_err(), "host bits set");
        assert!(beneath.covers(&HostPattern::parse("*.a.example.org").unwrap()));
        assert!(!HostPattern::parse("a.example.org").unwrap().covers(&beneath));
    }
}
