//! What an image in a registry is called: `[REGISTRY/]NAME[:TAG][@DIGEST]`.
use super::error::PullError;
use std::fmt;

/// The registry that is meant where none is named, and where its interface is.
const HUB: &str = "docker.io";
const HUB_SERVER: &str = "registry-1.docker.io";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Host and, if it is not the usual one, port.
    pub registry: String,
    /// The name there, with slashes.
    pub repository: String,
    /// A name that may mean another image tomorrow.
    pub tag: Option<String>,
    /// The digest of a manifest, or of a list of them.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads what people write: without a registry Docker Hub is meant, without a tag and a digest `latest`.
    pub fn parse(text: &str) -> Result<Reference, PullError> {
        let wrong = |why: &str| PullError::Reference {
            reference: text.chars().take(200).collect(),
            why: why.to_owned(),
        };
        if text.len() > 2 * MAX_NAME + MAX_TAG + 80 {
            return Err(wrong("it is too long"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest
            && !digest.strip_prefix("sha256:").is_some_and(is_hex)
        {
            return Err(wrong(
                "a digest is `sha256:` and 64 hexadecimal digits in lower case",
            ));
        }
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
            _ => (rest, None),
        };
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if let Some(tag) = tag
            && (tag.is_empty()
                || tag.len() > MAX_TAG
                || !tag.bytes().all(word)
                || tag.starts_with(['.', '-']))
        {
            return Err(wrong("a tag has letters, digits, `_`, `.` and `-`"));
        }
        let (registry, name) = match rest.split_once('/') {
            Some((host, name)) if host.contains(['.', ':']) || host == "localhost" => (host, name.to_owned()),
            Some(_) => (HUB, rest.to_owned()),
            None => (HUB, format!("library/{rest}")),
        };
        if !is_host(registry) {
            return Err(wrong("the registry is not a host and a port"));
        }
        let part = |part: &str| {
            let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let all = part.bytes().all(|b| word(b) && !b.is_ascii_uppercase());
            all && edge(part.bytes().next()) && edge(part.bytes().last()) && !part.contains("..")
        };
        if name.len() > MAX_NAME || !name.split('/').all(part) {
            return Err(wrong(
                "a name has lower-case letters, digits, `_`, `.` and `-`, in parts between slashes",
            ));
        }
        let latest = (tag.is_none() && digest.is_none()).then_some("latest");
        Ok(Reference {
            registry: registry.to_ascii_lowercase(),
            repository: name,
            tag: tag.or(latest).map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// Where the registry's interface is.
    pub(super) fn server(&self) -> &str {
        if self.registry == HUB {
            HUB_SERVER
        } else {
            &self.registry
        }
    }

    /// What is asked for: the digest if there is one.
    pub(super) fn wanted(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |d| write!(f, "@{d}"))
    }
}

/// A name or an address, and perhaps a port.
fn is_host(text: &str) -> bool {
    let authority = format!("https://{text}/").parse::<http::Uri>().ok();
    let Some(authority) = authority.and_then(|u| u.authority().cloned()) else {
        return false;
    };
    let (host, port) = (authority.host(), authority.port_u16());
    let whole = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let label = |label: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
        let all = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        all && edge(label.bytes().next()) && edge(label.bytes().last())
    };
    whole == text
        && match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => host.split('.').all(label),
        }
}

fn is_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, means) in [
            ("debian", "docker.io/library/debian:latest"),
            ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
            ("localhost/x", "localhost/x:latest"),
            ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
            ("Ghcr.io/own/er:V1", "ghcr.io/own/er:V1"),
        ] {
            assert_eq!(Reference::parse(text).unwrap().to_string(), means, "{text}");
        }
        let both = Reference::parse(&format!("ghcr.io/a/b:c@{digest}")).unwrap();
        assert_eq!((both.tag.as_deref(), both.wanted()), (Some("c"), digest.as_str()));
        let pinned = Reference::parse(&format!("ghcr.io/a/b@{digest}")).unwrap();
        assert_eq!(pinned.tag, None);
    }

    #[test]
    fn what_is_no_reference() {
        for text in [
            "",
            "A/B",
            "a//b",
            "../a",
            "a/../b",
            "ghcr.io/",
            "user:pass@ghcr.io/a",
            "ghcr.io/a?x=y",
            "ghcr.io/a b",
            "ghcr.io/a#b",
            "ghcr.io:x/a",
            "x.y@z/a",
            "a:",
            "a:-b",
            "a@sha256:12",
            "a@md5:00",
            "ghcr.io/a\r\nx: y",
            "ghcr.io/a%2f..",
            ".a.b/..",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
        assert!(Reference::parse(&"a".repeat(5000)).is_err());
    }
}
