//! One request on its way: where it goes and what is spoken at the two ends.
use crate::destination::Destination;

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// Host.
    pub(crate) to: Destination,
    /// Port.
    pub(crate) port: u16,
    /// Whether TLS is spoken, at both ends or at none.
    pub(crate) tls: bool,
    /// What the agent speaks.
    pub(crate) agent: Speaks,
    /// Whether the agent takes fields after a body.
    pub(crate) trailers: bool,
}

impl Exchange {
    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Host, and port where it is not the scheme's own, as a URL has them.
    pub(crate) fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        let host = match &self.to {
            Destination::Address(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
            other => other.to_string(),
        };
        match self.port == default {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }
}
