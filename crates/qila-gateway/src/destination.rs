//! Where a connection goes.
use qila_authorizer::Host;
use qila_policy::model::HostName;
use std::fmt;
use std::net::IpAddr;

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A name, as the agent looked it up or wrote it.
    Name(HostName),
    /// An address.
    Address(IpAddr),
}

impl Destination {
    /// As the authorizer takes it.
    pub(crate) fn as_host(&self) -> Host<'_> {
        match self {
            Destination::Name(name) => Host::Name(name),
            Destination::Address(ip) => Host::Address(*ip),
        }
    }

    /// From a host part of a URL, in whatever spelling.
    pub(crate) fn parse(text: &str) -> Option<Destination> {
        let bare = text
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(text);
        match bare.parse() {
            Ok(ip) => Some(Destination::Address(ip)),
            Err(_) => HostName::parse(text).map(Destination::Name),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Name(name) => write!(f, "{name}"),
            Destination::Address(ip) => write!(f, "{ip}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_disguise_are_no_names() {
        assert_eq!(Destination::parse("2130706433"), None);
        assert_eq!(Destination::parse("0x7f.1"), None);
        assert_eq!(
            Destination::parse("[::1]"),
            Some(Destination::Address("::1".parse().unwrap()))
        );
    }
}
