//! The head of a request: where it really goes, and what of it is sent on.
use super::exchange::{Exchange, Speaks};
use super::refusal::Refusal;
use super::trailers;
use crate::destination::Destination;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use qila_inspect::request::{Form, HeadError, Host, check_head, strip_hop_by_hop};

/// Where a request goes: its Host, its target and the connection must say the same.
pub(crate) fn target(
    parts: &Parts,
    fixed: Option<(&Destination, u16)>,
) -> Result<(Destination, u16), Refusal> {
    let target =
        check_head(&parts.method, &parts.uri, &parts.headers, parts.version).map_err(|e| match &e {
            HeadError::Upgrade(_) => Refusal::new(
                StatusCode::NOT_IMPLEMENTED,
                "qila_protocol",
                "of the upgrades only WebSocket is passed on",
            ),
            _ => Refusal::new(e.status(), "qila_malformed", e.to_string()),
        })?;
    let to = match target.host {
        Host::Name(name) => Destination::Name(name),
        Host::Address(ip) => Destination::Address(ip),
    };
    match (fixed, target.form) {
        (None, Form::Http) => Ok((to, target.port.unwrap_or(80))),
        (None, _) => Err(Refusal::malformed(
            "a proxy is asked with a whole URL, `GET http://host/path HTTP/1.1`, and for https with CONNECT",
        )),
        // Without a port the scheme's own is meant, which the connection has fixed.
        (Some((want, port)), Form::Origin) if *want == to && target.port.is_none_or(|p| p == port) => {
            Ok((to, port))
        }
        (Some((want, port)), Form::Http | Form::Https) if *want == to && target.port == Some(port) => {
            Ok((to, port))
        }
        (Some((want, port)), Form::Origin | Form::Http | Form::Https) => Err(misdirected(format!(
            "the request names {to}{} on a connection to {want}:{port}",
            target.port.map(|p| format!(":{p}")).unwrap_or_default()
        ))),
        (Some(_), Form::Authority | Form::Asterisk) => Err(Refusal::malformed("a request without a path")),
    }
}

fn misdirected(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, "qila_misdirected", message)
}

/// Whether a request is a call of gRPC's.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    value.is_some_and(|v| v.starts_with(b"application/grpc"))
}

/// Makes a request ready for an upstream that speaks a version.
pub(crate) fn prepare(parts: &mut Parts, masks: bool, exchange: &Exchange, upstream: Speaks) {
    let trailers = trailers::asked(&parts.headers);
    strip_hop_by_hop(&mut parts.headers);
    // Answered by the gateway itself when it begins to read the body.
    parts.headers.remove(header::EXPECT);
    if masks {
        // What comes back is searched for the credential, which compression would hide.
        parts
            .headers
            .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        parts.headers.remove("grpc-accept-encoding");
    }
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let (uri, version) = match upstream {
        Speaks::Http1 => (path.to_owned(), Version::HTTP_11),
        Speaks::Http2 => {
            let whole = format!("{}://{}{path}", exchange.scheme(), exchange.authority());
            (whole, Version::HTTP_2)
        }
    };
    if let Ok(uri) = uri.parse::<Uri>() {
        parts.uri = uri;
    }
    parts.version = version;
    if trailers {
        parts
            .headers
            .insert(header::TE, HeaderValue::from_static("trailers"));
    }
    match upstream {
        Speaks::Http2 => {
            parts.headers.remove(header::HOST);
        }
        Speaks::Http1 => {
            if trailers {
                // Over HTTP/1 it is a matter of this connection, and said to be one.
                parts
                    .headers
                    .insert(header::CONNECTION, HeaderValue::from_static("TE"));
            }
            if !parts.headers.contains_key(header::HOST)
                && let Ok(value) = HeaderValue::from_str(&exchange.authority())
            {
                parts.headers.insert(header::HOST, value);
            }
            one_cookie(&mut parts.headers);
        }
    }
}

/// HTTP/2 may cut cookies into several fields, HTTP/1 may not (RFC 9113, 8.2.3).
fn one_cookie(headers: &mut HeaderMap) {
    let all: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if all.len() > 1
        && let Ok(value) = HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn api() -> Destination {
        Destination::parse("api.example.org").unwrap()
    }

    #[test]
    fn host_target_and_connection_must_agree() {
        let to = api();
        let fixed = Some((&to, 443));
        let good = |uri: &str, host: &str| target(&parts(uri, &[("host", host)]), fixed);
        assert_eq!(good("/v1", "api.example.org").unwrap(), (api(), 443));
        assert_eq!(good("/v1", "API.example.org:443").unwrap(), (api(), 443));
        assert_eq!(
            good("https://api.example.org/v1", "api.example.org").unwrap(),
            (api(), 443)
        );
        for (uri, host) in [
            ("/v1", "other.example.org"),
            ("/v1", "api.example.org:444"),
            ("/v1", "127.0.0.1"),
            ("/v1", "api.example.org@evil.org"),
            ("/v1", ""),
            ("https://evil.org/v1", "api.example.org"),
            ("https://u@api.example.org/v1", "api.example.org"),
        ] {
            assert!(good(uri, host).is_err(), "{uri} {host}");
        }
        assert!(target(&parts("/", &[]), fixed).is_err());
        assert!(
            target(
                &parts("/", &[("host", "api.example.org"), ("host", "evil.org")]),
                fixed
            )
            .is_err()
        );
    }

    #[test]
    fn two_ends_for_one_body_are_refused() {
        let to = api();
        let framed = |h: &[(&str, &str)]| {
            let all = [&[("host", "api.example.org")], h].concat();
            target(&parts("/", &all), Some((&to, 443)))
        };
        assert!(framed(&[("content-length", "5")]).is_ok());
        assert!(framed(&[("transfer-encoding", "chunked")]).is_ok());
        for bad in [
            &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
            &[("content-length", "5"), ("content-length", "6")],
            &[("content-length", "+5")],
            &[("content-length", "5, 5")],
            &[("transfer-encoding", "xchunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "identity"),
            ],
            &[("upgrade", "websocket")],
        ] {
            assert!(framed(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_proxy_reads_where_from_the_url() {
        let asked = |uri: &str, host: &str| target(&parts(uri, &[("host", host)]), None);
        assert_eq!(
            asked("http://api.example.org/x", "api.example.org").unwrap(),
            (api(), 80)
        );
        assert_eq!(
            asked("http://api.example.org:81/x", "api.example.org:81").unwrap(),
            (api(), 81)
        );
        assert!(asked("http://api.example.org/x", "evil.org").is_err());
        assert!(asked("/x", "api.example.org").is_err());
    }

    #[test]
    fn what_concerns_one_connection_is_not_sent_on() {
        let mut sent = parts(
            "https://api.example.org/v1?q=1",
            &[
                ("host", "api.example.org"),
                ("connection", "x-hop, close"),
                ("x-hop", "1"),
                ("expect", "100-continue"),
                ("accept-encoding", "gzip"),
            ],
        );
        let exchange = Exchange {
            to: api(),
            port: 8443,
            tls: true,
            agent: Speaks::Http1,
            trailers: true,
        };
        let mut newer = sent.clone();
        prepare(&mut sent, true, &exchange, Speaks::Http1);
        assert_eq!(sent.uri, "/v1?q=1");
        assert_eq!(sent.headers.get("accept-encoding").unwrap(), "identity");
        assert_eq!(sent.headers.len(), 2);
        let mut asks = newer.clone();
        asks.headers
            .insert("te", HeaderValue::from_static("gzip, trailers"));
        prepare(&mut asks, false, &exchange, Speaks::Http1);
        assert_eq!(asks.headers.get("te").unwrap(), "trailers");
        assert_eq!(asks.headers.get("connection").unwrap(), "TE");
        newer.headers.insert("te", HeaderValue::from_static("trailers"));
        prepare(&mut newer, false, &exchange, Speaks::Http2);
        assert_eq!(newer.uri, "https://api.example.org:8443/v1?q=1");
        assert_eq!(newer.headers.get("te").unwrap(), "trailers");
        assert!(!newer.headers.contains_key("host") && !newer.headers.contains_key("connection"));
    }
}
