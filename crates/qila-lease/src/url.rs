//! Where a provider is.
use qila_policy::model::ServiceUrl;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An `http` or `https` URL, taken apart. A policy allows the former for the host's own loopback alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Url {
    /// Whether TLS is spoken.
    pub https: bool,
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path, beginning with `/`.
    pub path: String,
}

impl Url {
    /// Takes a URL of a policy apart. None: it is not one, which a policy's reader has excluded.
    pub fn of(url: &ServiceUrl) -> Option<Url> {
        let (https, rest) = match url.0.split_once("://")? {
            ("https", rest) => (true, rest),
            ("http", rest) => (false, rest),
            _ => return None,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let default = if https { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Ok(default), str::parse).ok()?;
        (!host.is_empty()).then(|| Url {
            https,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }

    /// The same place, and a path beneath this one's.
    pub(crate) fn join(&self, path: &str) -> Url {
        Url {
            path: format!("{}{path}", self.path.trim_end_matches('/')),
            ..self.clone()
        }
    }

    /// As the `Host` header has it.
    pub fn authority(&self) -> String {
        let default = if self.https { 443 } else { 80 };
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == default {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_policies_are_taken_apart() {
        let url = |text: &str| Url::of(&ServiceUrl(text.to_owned()));
        for (text, host, port, path) in [
            ("https://vault.test", "vault.test", 443, "/"),
            ("https://vault.test:8200/x/y", "vault.test", 8200, "/x/y"),
            ("http://127.0.0.1:1", "127.0.0.1", 1, "/"),
            ("http://[::1]:8200/v", "::1", 8200, "/v"),
            ("http://localhost", "localhost", 80, "/"),
        ] {
            let read = url(text).unwrap();
            assert_eq!(
                (read.host.as_str(), read.port, read.path.as_str()),
                (host, port, path)
            );
        }
        for bad in [
            "ftp://a",
            "https://",
            "https://a:b",
            "https://a:70000",
            "a",
            "https://[::1",
        ] {
            assert_eq!(url(bad), None, "{bad}");
        }
        assert_eq!(
            url("http://[::1]:8200/v").unwrap().join("/v1/x").to_string(),
            "http://[::1]:8200/v/v1/x"
        );
        assert_eq!(
            url("https://a.test").unwrap().join("/v1/x").to_string(),
            "https://a.test/v1/x"
        );
    }
}
