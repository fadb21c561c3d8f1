//! Fields that belong to one connection and never travel on (RFC 9110, 7.6.1).
use http::HeaderMap;
use http::header::{CONNECTION, HeaderName};

/// Fields that are dropped whether or not Connection names them.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What a field that is a list names, Connection for one. Empty elements are allowed and mean nothing.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|t| !t.is_empty())
}

/// Whether a request's Connection field may name this: what it names is dropped on the way, and a field that the server
/// needs must not be. `transfer-encoding` is dropped by nobody's wish but ours.
pub(super) fn may_be_named(name: &[u8]) -> bool {
    let is = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
    [
        "close",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "http2-settings",
        "proxy-connection",
    ]
    .iter()
    .any(is)
}

/// Removes the fields that belong to one connection, and those that Connection names. For requests and responses; the
/// body's framing (Transfer-Encoding) is the sender's to write anew. What describes the body stays though named: a response
/// must not hide its Content-Encoding from whoever masks it.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|v| tokens(v.as_bytes()))
        .filter_map(|t| HeaderName::from_bytes(t).ok())
        .filter(|name| !name.as_str().starts_with("content-"))
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
