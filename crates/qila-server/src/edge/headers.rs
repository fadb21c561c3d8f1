//! What headers must not pass to a program in a sandbox, and what is added for it.
use base64::Engine;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Headers that show a traffic token.
pub(crate) const TRAFFIC: [&str; 2] = ["qila-traffic-token", "e2b-traffic-access-token"];

/// Meant for the server alone.
const OURS: [&str; 6] = [
    "qila-sandbox",
    "qila-port",
    "e2b-sandbox-id",
    "e2b-sandbox-port",
    "x-access-token",
    "x-api-key",
];

/// Said by proxies: what a client made up is replaced by what is true.
const PROXIES: [&str; 5] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Between two ends of one connection only (RFC 9110, 7.6.1).
const HOPS: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the connection is to become, if the message asks for that.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = tokens(headers).iter().any(|t| t.eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asks).cloned()
}

fn tokens(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(header::CONNECTION);
    all.iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|t| t.trim().to_owned())
        .collect()
}

/// Takes away what concerns this connection alone, and says instead what it becomes.
pub(crate) fn end_hop(headers: &mut HeaderMap, becomes: Option<&HeaderValue>) {
    for token in tokens(headers) {
        headers.remove(token.as_str());
    }
    for name in HOPS {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    if let Some(becomes) = becomes {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, becomes.clone());
    }
}

/// Takes away keys and tokens, and what clients say of proxies.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in OURS.iter().chain(&TRAFFIC).chain(&PROXIES) {
        headers.remove(*name);
    }
    let ours = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or("");
        let basic = text
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        let inside =
            basic.and_then(|(_, code)| base64::engine::general_purpose::STANDARD.decode(code.trim()).ok());
        let has_key = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            text.contains("qila_") || text.contains("e2b_")
        };
        has_key(text.as_bytes()) || inside.is_some_and(|inside| has_key(&inside))
    };
    if headers.get_all(header::AUTHORIZATION).iter().any(ours) {
        headers.remove(header::AUTHORIZATION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_hops_stay_here_and_a_programs_own_authorization_does_not() {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: &'static str| {
            headers.append(name, HeaderValue::from_static(value));
        };
        put("authorization", "Bearer its-own");
        put("connection", "close, X-Secret-Hop");
        put("x-secret-hop", "1");
        put("te", "trailers");
        put("x-api-key", "qila_1");
        put("e2b-traffic-access-token", "t");
        put("x-forwarded-for", "1.2.3.4");
        put("cookie", "a=b");
        strip(&mut headers);
        end_hop(&mut headers, None);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["authorization", "cookie"]);
        for key in ["Bearer qila_00", "bearer e2b_00", "Basic cWlsYV8wMDo="] {
            headers.insert("authorization", HeaderValue::from_static(key));
            strip(&mut headers);
            assert!(!headers.contains_key("authorization"), "{key}");
        }
    }
}
