//! The forms that single values take: names, paths, tokens.

/// A name of a credential: 1 to 64 letters, digits, `-` and `_`.
pub(crate) fn credential_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A name of an environment variable: letters, digits and `_`, no digit first, at most 255.
pub(crate) fn variable(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// A name of an environment variable, or the beginning of one and a `*`.
pub(crate) fn variable_pattern(text: &str) -> bool {
    match text.strip_suffix('*') {
        // A bare `*` would pass on every secret that the caller has.
        Some(prefix) => variable(prefix),
        None => variable(text),
    }
}

/// A value of an environment variable.
pub(crate) fn variable_value(text: &str) -> bool {
    text.len() <= 32 * 1024 && !text.contains('\0')
}

/// A path: absolute, `~`, `~/…`, `.` or `./…`; no `..`, no empty part, no `.` within, no control character, at most 4096 bytes.
pub(crate) fn path(text: &str) -> bool {
    if text.len() > 4096 || text.chars().any(char::is_control) {
        return false;
    }
    let parts = |rest: &str| rest.split('/').all(|p| !p.is_empty() && p != ".." && p != ".");
    match text {
        "/" | "~" | "." => true,
        _ => ["/", "~/", "./"]
            .into_iter()
            .find_map(|root| text.strip_prefix(root))
            .is_some_and(parts),
    }
}

/// An HTTP method: 1 to 32 upper-case letters, `-` or `_`.
pub(crate) fn method(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-' || b == b'_')
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        // The gateway's own word for "be a proxy": never a request to a host.
        && text != "CONNECT"
}

/// A path pattern: starts with `/`; visible ASCII without `?`, `#`, `%` and `\`; no `..`; `**` only as a whole segment.
pub(crate) fn path_glob(text: &str) -> bool {
    let visible = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'%' | b'\\');
    text.len() <= 1024
        && text.starts_with('/')
        && text.bytes().all(visible)
        && text.split('/').all(|s| s != ".." && s != "." && (s == "**" || !s.contains("**")))
        // Matching is bounded by the number of wildcards.
        && text.bytes().filter(|b| *b == b'*').count() <= 16
}

/// A name of an HTTP header: an RFC 9110 token of at most 64 bytes.
pub(crate) fn header(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Headers that frame, route or negotiate the connection: a credential in one would change what the request is.
pub(crate) fn reserved_header(lower: &str) -> bool {
    const RESERVED: &[&str] = &[
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    RESERVED.contains(&lower)
        || lower.starts_with("sec-")
        || lower.starts_with("forwarded")
        || lower.starts_with("x-forwarded-")
}

/// A user name for basic authentication: no colon, no control character.
pub(crate) fn basic_user(text: &str) -> bool {
    text.len() <= 255 && !text.chars().any(|c| c == ':' || c.is_control())
}

/// A name of a query parameter: unreserved characters of RFC 3986.
pub(crate) fn query_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

/// A name that a condition looks for, as it is after decoding: 1 to 128 bytes without control characters.
pub(crate) fn condition_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A name of a header in lower case.
pub(crate) fn lower_header(text: &str) -> bool {
    header(text) && !text.bytes().any(|b| b.is_ascii_uppercase())
}

/// Headers that frame or route the request: the gateway writes them anew, so that no condition on the agent's own would hold
/// for what is sent on.
pub(crate) fn own_header(lower: &str) -> bool {
    const OWN: &[&str] = &[
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    OWN.contains(&lower)
}

/// A pattern over one text.
pub(crate) fn text_glob(text: &str) -> bool {
    crate::model::TextGlob::parse(text).is_some()
}

/// A URL of a service: `https://`, or `http://` to the host's own loopback; no user, query, fragment or trailing `/`.
pub(crate) fn service_url(text: &str) -> bool {
    let (plain, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return false,
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, "-"));
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let Some((host, after)) = inner.split_once(']') else {
                return false;
            };
            let port = after.strip_prefix(':');
            if port.is_none() && !after.is_empty() {
                return false;
            }
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let address = host.parse::<std::net::IpAddr>().ok();
    let name = crate::model::HostName::parse(host);
    let loopback =
        address.is_some_and(|a| a.is_loopback()) || name.as_ref().is_some_and(|n| n.as_str() == "localhost");
    let port_ok =
        port.is_none_or(|p| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p != 0));
    text.len() <= 1024
        && (address.is_some() || name.is_some())
        && (!plain || loopback)
        && port_ok
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && path
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&b))
}

/// A path of Vault's API beneath `/v1/`.
pub(crate) fn vault_path(text: &str) -> bool {
    text.len() <= 1024
        && text
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b))
}

/// A short word of visible ASCII: a field, a client's id, a name space.
pub(crate) fn word(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

/// Scopes of OAuth 2.0, one space between each.
pub(crate) fn scopes(text: &str) -> bool {
    text.len() <= 1024 && text.split(' ').all(word)
}

/// A region or service of AWS.
pub(crate) fn aws_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A name of a repository, without its owner.
pub(crate) fn repository(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// A name of a permission of a GitHub App.
pub(crate) fn permission(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// A name of a system call in shape; the list of those that exist is the tier's.
pub(crate) fn syscall(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && text.starts_with(|c: char| c == '_' || c.is_ascii_lowercase())
}

/// One argument of a command.
pub(crate) fn argument(text: &str) -> bool {
    text.len() <= 4096 && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms_accept_and_refuse() {
        type Case = (fn(&str) -> bool, &'static [&'static str], &'static [&'static str]);
        let cases: &[Case] = &[
            (
                super::credential_name,
                &["openai", "a-b_1"],
                &["", "a b", "é", "a.b"],
            ),
            (
                super::variable,
                &["PATH", "_x1"],
                &["", "1A", "A-B", "A=B", "A\0"],
            ),
            (super::variable_pattern, &["LC_*", "TERM"], &["*", "A*B", "1*"]),
            (
                super::path,
                &["/", "/a/b", "~", "~/.ssh", ".", "./x"],
                &[
                    "", "a", "../a", "/a/../b", "/a//b", "/a/", "~a", "/a\0", "/./a", "/a\nb",
                ],
            ),
            (
                super::method,
                &["GET", "M-SEARCH"],
                &["get", "", "GET ", "CONNECT", "-A"],
            ),
            (
                super::path_glob,
                &["/v1/**", "/", "/a*b/c"],
                &["v1", "/a?b", "/%2e", "/a/../b", "/a**", "/\\", "/****"],
            ),
            (super::header, &["x-api-key"], &["", "a b", "a:b", "a\r\nb"]),
            (
                super::reserved_header,
                &[
                    "host",
                    "sec-websocket-key",
                    "x-forwarded-for",
                    "transfer-encoding",
                ],
                &["x-api-key", "authorization"],
            ),
            (
                super::syscall,
                &["io_uring_setup", "clone3"],
                &["", "Clone", "a b", "3a"],
            ),
            (super::query_name, &["key"], &["", "a&b", "a=b"]),
            (super::condition_name, &["page", "filter[x]", "é"], &["", "a\nb"]),
            (super::lower_header, &["x-api-key"], &["X-Api-Key", "", "a b"]),
            (
                super::own_header,
                &["host", "content-length"],
                &["content-type", "accept"],
            ),
            (
                super::service_url,
                &[
                    "https://vault:8200",
                    "https://a.org/x/y",
                    "http://127.0.0.1:8200",
                    "http://localhost/x",
                    "http://[::1]:80",
                    "https://192.0.2.1",
                ],
                &[
                    "vault:8200",
                    "http://a.org",
                    "http://192.0.2.1",
                    "https://",
                    "https://u@a.org",
                    "https://a.org/",
                    "https://a.org/x?y",
                    "https://a.org/#x",
                    "https://a.org/../x",
                    "https://a.org:0",
                    "https://a.org:x",
                    "https://[::1",
                    "https://[::1]x",
                    "ftp://a.org",
                    "https://a.org/%2e",
                    "http://127.0.0.1.evil.org",
                    "http://localhost@evil.org",
                ],
            ),
            (
                super::vault_path,
                &["secret/data/x", "database/creds/r-o"],
                &["", "/a", "a/", "a//b", "a/../b", "a?b"],
            ),
            (super::scopes, &["a b", "repo:read"], &["", " a", "a  b", "a\nb"]),
            (
                super::aws_word,
                &["eu-central-1", "s3"],
                &["", "S3", "a b", "a/b"],
            ),
            (super::repository, &["qila", "a.b_c"], &["", "a/b"]),
            (
                super::permission,
                &["contents", "pull_requests"],
                &["", "Contents"],
            ),
            (super::basic_user, &["", "user"], &["a:b", "a\nb"]),
        ];
        for (i, (check, good, bad)) in cases.iter().enumerate() {
            for text in *good {
                assert!(check(text), "case {i}: {text:?}");
            }
            for text in *bad {
                assert!(!check(text), "case {i}: {text:?}");
            }
        }
    }
}
