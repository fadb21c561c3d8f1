//! WebSocket handshakes: the standard's examples and hostile ones.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use qila_inspect::websocket::*;

fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

const ASK: [(&str, &str); 5] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat, superchat"),
];
const ANSWER: [(&str, &str); 3] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
];

fn with<'a>(base: &[(&'static str, &'a str)], name: &'static str, value: Option<&'a str>) -> HeaderMap {
    let kept = base.iter().filter(|(n, _)| *n != name).copied();
    map(&kept.chain(value.map(|v| (name, v))).collect::<Vec<_>>())
}

#[test]
fn the_handshake_of_a_client() {
    use HandshakeError::{Body, Key, Protocols, Upgrade};
    let ask = |mut headers: HeaderMap| request(&Method::GET, Version::HTTP_11, &mut headers);
    let good = ask(map(&ASK)).unwrap();
    assert_eq!(good.protocols(), ["chat", "superchat"]);
    for (name, value, want) in [
        ("upgrade", Some("WebSocket"), None),
        ("upgrade", Some("websocket, h2c"), Some(Upgrade)),
        ("upgrade", Some("h2c"), Some(Upgrade)),
        ("upgrade", None, Some(Upgrade)),
        ("connection", Some("keep-alive, upgrade"), None),
        ("connection", Some("keep-alive"), Some(Upgrade)),
        ("connection", None, Some(Upgrade)),
        ("sec-websocket-key", None, Some(Key)),
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"), Some(Key)),
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZR=="), Some(Key)),
        ("sec-websocket-key", Some("c2hvcnQ="), Some(Key)),
        ("sec-websocket-key", Some("not base64, not at all!!"), Some(Key)),
        ("sec-websocket-version", Some("8"), Some(HandshakeError::Version)),
        (
            "sec-websocket-version",
            Some("13, 8"),
            Some(HandshakeError::Version),
        ),
        ("sec-websocket-version", None, Some(HandshakeError::Version)),
        ("sec-websocket-protocol", None, None),
        ("sec-websocket-protocol", Some("a,a"), Some(Protocols)),
        ("sec-websocket-protocol", Some("a,"), Some(Protocols)),
        ("sec-websocket-protocol", Some("a b"), Some(Protocols)),
        ("sec-websocket-protocol", Some("\u{e9}"), Some(Protocols)),
        ("content-length", Some("0"), None),
        ("content-length", Some("5"), Some(Body)),
        ("transfer-encoding", Some("chunked"), Some(Body)),
    ] {
        assert_eq!(ask(with(&ASK, name, value)).err(), want, "{name}: {value:?}");
    }
    let many: Vec<String> = (0..=MAX_PROTOCOLS).map(|n| format!("p{n}")).collect();
    assert_eq!(
        ask(with(&ASK, "sec-websocket-protocol", Some(&many.join(",")))).err(),
        Some(Protocols)
    );
    for twice in ["upgrade", "sec-websocket-key", "sec-websocket-version"] {
        let again = ASK.iter().find(|(name, _)| *name == twice).unwrap();
        let fields = [&ASK[..], &[*again]].concat();
        assert!(ask(map(&fields)).is_err(), "{twice} twice");
    }
    assert_eq!(
        request(&Method::POST, Version::HTTP_11, &mut map(&ASK)).err(),
        Some(HandshakeError::Method)
    );
    assert_eq!(
        request(&Method::GET, Version::HTTP_10, &mut map(&ASK)).err(),
        Some(HandshakeError::Method)
    );
    let mut headers = with(&ASK, "sec-websocket-extensions", Some("permessage-deflate"));
    request(&Method::GET, Version::HTTP_11, &mut headers).unwrap();
    assert!(
        !headers.contains_key("sec-websocket-extensions"),
        "it is not offered on"
    );
}

#[test]
fn the_handshake_of_a_server() {
    use HandshakeError::{Accept, Extension, Protocol, Status, Upgrade};
    let offer = request(&Method::GET, Version::HTTP_11, &mut map(&ASK)).unwrap();
    let plain = request(
        &Method::GET,
        Version::HTTP_11,
        &mut with(&ASK, "sec-websocket-protocol", None),
    )
    .unwrap();
    let answer = |mut headers: HeaderMap| response(&offer, StatusCode::SWITCHING_PROTOCOLS, &mut headers);
    assert_eq!(answer(map(&ANSWER)), Ok(None));
    for (name, value, want) in [
        (
            "sec-websocket-protocol",
            Some("superchat"),
            Ok(Some("superchat".to_owned())),
        ),
        ("sec-websocket-protocol", Some("Chat"), Err(Protocol)),
        ("sec-websocket-protocol", Some("chat, superchat"), Err(Protocol)),
        ("sec-websocket-protocol", Some(""), Err(Protocol)),
        (
            "sec-websocket-extensions",
            Some("permessage-deflate"),
            Err(Extension),
        ),
        ("sec-websocket-accept", None, Err(Accept)),
        (
            "sec-websocket-accept",
            Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOO="),
            Err(Accept),
        ),
        (
            "sec-websocket-accept",
            Some("S3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            Err(Accept),
        ),
        ("upgrade", Some("h2c"), Err(Upgrade)),
        ("connection", Some("close"), Err(Upgrade)),
        ("content-length", Some("9"), Ok(None)),
    ] {
        assert_eq!(answer(with(&ANSWER, name, value)), want, "{name}: {value:?}");
    }
    let status = StatusCode::OK;
    assert_eq!(response(&offer, status, &mut map(&ANSWER)), Err(Status(status)));
    let mut chosen = with(&ANSWER, "sec-websocket-protocol", Some("chat"));
    assert_eq!(
        response(&plain, StatusCode::SWITCHING_PROTOCOLS, &mut chosen),
        Err(Protocol)
    );
    let mut long = with(&ANSWER, "content-length", Some("9"));
    response(&offer, StatusCode::SWITCHING_PROTOCOLS, &mut long).unwrap();
    assert!(!long.contains_key("content-length"));
    assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), ANSWER[2].1);
}

#[test]
fn over_http_2() {
    let fields = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ];
    let mut headers = with(&fields, "sec-websocket-extensions", Some("x"));
    let offer = connect(&Method::CONNECT, Version::HTTP_2, &mut headers).unwrap();
    assert!(!headers.contains_key("sec-websocket-extensions"));
    assert!(connect(&Method::CONNECT, Version::HTTP_11, &mut map(&fields)).is_err());
    assert!(connect(&Method::CONNECT, Version::HTTP_2, &mut map(&ASK)).is_err());
    let answer = with(&[], "sec-websocket-protocol", Some("chat"));
    assert_eq!(
        connected(&offer, StatusCode::OK, &answer),
        Ok(Some("chat".to_owned()))
    );
    assert!(connected(&offer, StatusCode::FORBIDDEN, &answer).is_err());
    // An answer over HTTP/1.1 has an accept value, which this offer has no key for.
    assert!(response(&offer, StatusCode::SWITCHING_PROTOCOLS, &mut map(&ANSWER)).is_err());
}
