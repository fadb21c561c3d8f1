//! Fields after a body: searched like those in front of it. Over HTTP/1 only those are written that were announced, after a body
//! in chunks, and to an agent that asked for them; the library drops the others (RFC 9110, 6.5.1).
use super::forward::mask;
use crate::gate::Gate;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use qila_inspect::request::tokens;

/// Fields that say where a message goes, who sends it or how it is read: after the body they would change what was judged.
const NEVER: [&str; 18] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn cut(fields: &mut HeaderMap) {
    for name in NEVER {
        fields.remove(name);
    }
}

/// Whether whoever sends these takes fields after a body.
pub(super) fn asked(headers: &HeaderMap) -> bool {
    let mut codings = headers
        .get_all(header::TE)
        .iter()
        .flat_map(|v| tokens(v.as_bytes()));
    codings.any(|c| c.eq_ignore_ascii_case(b"trailers"))
}

/// The names announced, less those that stay behind.
pub(super) fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let names = headers
        .get_all(header::TRAILER)
        .iter()
        .flat_map(|v| tokens(v.as_bytes()));
    names
        .filter_map(|n| HeaderName::from_bytes(n).ok())
        .filter(|n| !NEVER.contains(&n.as_str()))
        .collect()
}

/// Announces these.
pub(super) fn announce(headers: &mut HeaderMap, names: &[HeaderName]) {
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    if !names.is_empty()
        && let Ok(value) = HeaderValue::from_str(&names.join(", "))
    {
        headers.insert(header::TRAILER, value);
    }
}

/// The agent's, on their way out. None: a placeholder is in them.
pub(super) fn outward(gate: &Gate, mut fields: HeaderMap) -> Option<HeaderMap> {
    let finds = |bytes: &[u8]| gate.secrets.finder().is_some_and(|f| f.find(bytes));
    if fields
        .iter()
        .any(|(n, v)| finds(n.as_str().as_bytes()) || finds(v.as_bytes()))
    {
        return None;
    }
    cut(&mut fields);
    Some(fields)
}

/// The upstream's, on their way in. None: a real value is in the name of one.
pub(super) fn inward(gate: &Gate, masks: bool, mut fields: HeaderMap) -> Option<HeaderMap> {
    let live = gate.secrets.live();
    if let Some(masker) = live.masker().filter(|_| masks) {
        if fields.keys().any(|name| live.is_in_name(name.as_str())) {
            return None;
        }
        mask(&mut fields, masker);
    }
    cut(&mut fields);
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn who_takes_them_says_so() {
        for (values, takes) in [
            (&["trailers"][..], true),
            (&["gzip;q=0.5, Trailers"], true),
            (&["gzip", "trailers"], true),
            (&["gzip"], false),
            (&["no-trailers"], false),
            (&[], false),
        ] {
            assert_eq!(asked(&with(header::TE, values)), takes, "{values:?}");
        }
    }

    #[test]
    fn only_what_may_follow_a_body_is_announced() {
        let sent = with(
            header::TRAILER,
            &["X-Sum,, Content-Length", "x-end, Set-Cookie, b@d"],
        );
        let mut told = HeaderMap::new();
        announce(&mut told, &announced(&sent));
        assert_eq!(told.get("trailer").unwrap(), "x-sum, x-end");
        let none = with(header::TRAILER, &["Host"]);
        let mut told = HeaderMap::new();
        announce(&mut told, &announced(&none));
        assert!(told.is_empty());
    }
}
