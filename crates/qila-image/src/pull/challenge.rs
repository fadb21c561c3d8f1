//! What a registry asks of whoever asks it: the header `WWW-Authenticate`.

/// Longest challenge in bytes.
const MAX: usize = 4096;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token, which another server gives.
    Bearer {
        /// Where.
        realm: String,
        /// For which service.
        service: Option<String>,
    },
}

/// Reads a challenge; none if it is not one of these.
pub(super) fn parse(text: &str) -> Option<Challenge> {
    if text.len() > MAX {
        return None;
    }
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    while !rest.trim().is_empty() {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim_matches([' ', ',']);
        let value;
        (value, rest) = match after.strip_prefix('"') {
            // No address and no service has a quotation mark in it.
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if value.contains('"') {
            return None;
        }
        let place = match key.to_ascii_lowercase().as_str() {
            "realm" => &mut realm,
            "service" => &mut service,
            _ => continue, // what may be done with a token is ours to ask for
        };
        // Twice the same is a riddle.
        if place.replace(value.trim().to_owned()).is_some() {
            return None;
        }
    }
    Some(Challenge::Bearer {
        realm: realm.filter(|r: &String| !r.is_empty())?,
        service,
    })
}

/// A value as a part of a query.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Feeds hostile text to the reader.
pub(super) fn fuzz(text: &str) {
    if let Some(Challenge::Bearer { realm, service }) = parse(text) {
        assert!(!realm.is_empty() && realm.len() <= MAX && !realm.contains('"'));
        let escaped = escape(service.as_deref().unwrap_or_default());
        assert!(!escaped.contains(['&', '=', ' ', '#', '\r', '\n']));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(str::to_owned),
            })
        };
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a:pull,push""#;
        assert_eq!(
            parse(hub),
            bearer("https://auth.docker.io/token", Some("registry.docker.io"))
        );
        assert_eq!(
            parse("bearer realm=https://x/y, service=z"),
            bearer("https://x/y", Some("z"))
        );
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        for text in [
            "",
            "Negotiate x",
            "Bearer",
            "Bearer service=\"x\"",
            "Bearer realm=\"x",
            "Bearer realm=\"a\",realm=\"b\"",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(escape("a b&c=d"), "a%20b%26c%3Dd");
    }
}
