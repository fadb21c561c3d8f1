//! Heads of real clients, and heads that two servers read differently.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use qila_inspect::request::*;

const CURL: &str =
    "GET /v1/models?x=1 HTTP/1.1\r\nHost: api.example.org\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

/// As the openai client of Python sends it.
const PYTHON: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAccept-Encoding: gzip, deflate\r\n\
    Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 1.99.1\r\n\
    X-Stainless-Lang: python\r\nAuthorization: Bearer x\r\nContent-Length: 17\r\n\r\n";

/// As undici of Node sends a streamed body.
const NODE: &str = "POST /v1/messages HTTP/1.1\r\nhost: api.anthropic.com\r\nconnection: keep-alive\r\n\
    content-type: application/json\r\nx-api-key: x\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn heads_of_real_clients_pass() {
    for head in [CURL, PYTHON, NODE, "OPTIONS * HTTP/1.0\r\nHost: a.org\r\n\r\n"] {
        assert_eq!(raw_head(head.as_bytes()), RawHead::Complete { len: head.len() });
        let more = format!("{head}{{\"a\": 1}}\r\n\r\nGET");
        assert_eq!(raw_head(more.as_bytes()), RawHead::Complete { len: head.len() });
        for cut in 0..head.len() {
            assert_eq!(raw_head(&head.as_bytes()[..cut]), RawHead::Incomplete, "{cut}");
        }
        fuzz_request(head.as_bytes());
    }
    for head in [
        "GET http://a.org/x HTTP/1.1\r\nHost: A.org:80\r\n\r\n",
        "GET HTTPS://a.org?q HTTP/1.1\r\nHost: a.org\r\n\r\n",
        "CONNECT a.org:443 HTTP/1.1\r\nHost: a.org\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]:8080\r\nX-Empty:\r\nX-Tab:\ta\tb \r\nX-Text: caf\u{e9}\r\n\r\n",
    ] {
        assert_eq!(
            raw_head(head.as_bytes()),
            RawHead::Complete { len: head.len() },
            "{head}"
        );
        fuzz_request(head.as_bytes());
    }
}

/// Fields after a request line and a Host field.
fn with(fields: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a.org\r\n{fields}\r\n\r\n")
}

#[test]
fn smuggling_is_refused() {
    let length = "a Content-Length that is not one plain number";
    let encoding = "a Transfer-Encoding other than `chunked`";
    let host = "a host that is neither a name nor a plainly written address";
    let differ = "the request target and the Host field name different hosts";
    let many = "X: y\r\n".repeat(MAX_HEADERS);
    let table: Vec<(String, &str)> = vec![
        (
            with("Content-Length: 5\r\nTransfer-Encoding: chunked"),
            "both Content-Length and Transfer-Encoding",
        ),
        (
            with("Transfer-Encoding: chunked\r\nContent-Length: 5"),
            "both Content-Length and Transfer-Encoding",
        ),
        (
            with("Content-Length: 5\r\nContent-Length: 6"),
            "more than one Content-Length",
        ),
        (
            with("Content-Length: 5\r\ncontent-length: 5"),
            "more than one Content-Length",
        ),
        (with("Content-Length: 5, 5"), length),
        (with("Content-Length: +5"), length),
        (with("Content-Length: -5"), length),
        (with("Content-Length: 05"), length),
        (with("Content-Length: 00"), length),
        (with("Content-Length: 0x5"), length),
        (with("Content-Length: 5 "), length),
        (with("Content-Length:  5"), length),
        (with("Content-Length:\t5"), length),
        (with("Content-Length: "), length),
        (with("Content-Length: 99999999999999999999"), length),
        (
            with("Content_Length: 5"),
            "a length field spelled with an underscore",
        ),
        (
            with("Transfer_Encoding: chunked"),
            "a length field spelled with an underscore",
        ),
        (with("Transfer-Encoding: xchunked"), encoding),
        (with("Transfer-Encoding: chunked, identity"), encoding),
        (with("Transfer-Encoding: identity, chunked"), encoding),
        (with("Transfer-Encoding: gzip, chunked"), encoding),
        (with("Transfer-Encoding: chunked "), encoding),
        (with("Transfer-Encoding: chunked\t"), encoding),
        (with("Transfer-Encoding:\tchunked"), encoding),
        (with("Transfer-Encoding: \"chunked\""), encoding),
        (with("Transfer-Encoding: Chunked"), encoding),
        (with("Transfer-Encoding:"), encoding),
        (
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            "more than one Transfer-Encoding",
        ),
        (with("Transfer-Encoding: chunked\x0b"), "a control byte"),
        (with("Transfer-Encoding : chunked"), "a space in front of a colon"),
        (
            with("Transfer-Encoding\t: chunked"),
            "a space in front of a colon",
        ),
        (
            with("X: y\r\n Transfer-Encoding: chunked"),
            "a header field folded over two lines",
        ),
        (with("X: y\r\n\tz"), "a header field folded over two lines"),
        (with(" X: y"), "a header field folded over two lines"),
        (
            with("X: y\rTransfer-Encoding: chunked"),
            "a carriage return without a line feed",
        ),
        (with("X: y\r\rX: z"), "a carriage return without a line feed"),
        (
            with("X: y\nTransfer-Encoding: chunked"),
            "a line that ends without a carriage return",
        ),
        (with("X: y\0"), "a NUL byte"),
        (with("X: y\x7f"), "a control byte"),
        (with("X"), "a header field without a colon"),
        (with(": y"), "a header field whose name is no word"),
        (with("X Y: z"), "a header field whose name is no word"),
        (with("X\u{e9}: z"), "a header field whose name is no word"),
        (with(&many), "more than 100 header fields"),
        (with("host: a.org"), "more than one Host field"),
        ("GET / HTTP/1.1\r\n\r\n".into(), "no Host field"),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            "a Transfer-Encoding in HTTP/1.0",
        ),
        ("GET /\r\n".into(), "HTTP/0.9, or no request"),
        (
            "GET / HTTP/1.1\nHost: a\n\n".into(),
            "a line that ends without a carriage return",
        ),
        (
            "GET / HTTP/2.0\r\n".into(),
            "an unknown HTTP version, or spaces in the target",
        ),
        (
            "GET / http/1.1\r\n".into(),
            "an unknown HTTP version, or spaces in the target",
        ),
        (
            "GET  / HTTP/1.1\r\n".into(),
            "an unknown HTTP version, or spaces in the target",
        ),
        (
            "GET / HTTP/1.1 \r\n".into(),
            "more than method, target and version",
        ),
        (
            "GET /a b HTTP/1.1\r\n".into(),
            "an unknown HTTP version, or spaces in the target",
        ),
        ("G@T / HTTP/1.1\r\n".into(), "a method that is no word"),
        ("GET\t/ HTTP/1.1\r\n".into(), "HTTP/0.9, or no request"),
        (
            "GET /#x HTTP/1.1\r\n".into(),
            "a target with bytes that belong in none",
        ),
        (
            "GET /\u{e9} HTTP/1.1\r\n".into(),
            "a target with bytes that belong in none",
        ),
        (
            "GET * HTTP/1.1\r\n".into(),
            "a target that is neither a path nor an address",
        ),
        (
            "GET a.org HTTP/1.1\r\n".into(),
            "a target that is neither a path nor an address",
        ),
        (
            "GET ftp://a.org/ HTTP/1.1\r\n".into(),
            "a target that is neither a path nor an address",
        ),
        (
            "GET http:/a.org/ HTTP/1.1\r\n".into(),
            "a target that is neither a path nor an address",
        ),
        (
            "\r\nGET / HTTP/1.1\r\n".into(),
            "an empty line in front of the request",
        ),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            "HTTP/2 is not spoken here yet",
        ),
        ("GET http://b.org/ HTTP/1.1\r\nHost: a.org\r\n\r\n".into(), differ),
        (
            "GET http://a.org:81/ HTTP/1.1\r\nHost: a.org\r\n\r\n".into(),
            differ,
        ),
        (
            "GET http://a.org/ HTTP/1.1\r\nHost: a.org:443\r\n\r\n".into(),
            differ,
        ),
        (
            "CONNECT a.org:443 HTTP/1.1\r\nHost: b.org:443\r\n\r\n".into(),
            differ,
        ),
        (
            "CONNECT a.org:443 HTTP/1.1\r\nHost: a.org:22\r\n\r\n".into(),
            differ,
        ),
        (
            "GET http://a.org@b.org/ HTTP/1.1\r\nHost: a.org\r\n\r\n".into(),
            host,
        ),
        ("GET http:///x HTTP/1.1\r\nHost: a.org\r\n\r\n".into(), host),
        (
            "GET http://a.org\\@b.org/ HTTP/1.1\r\nHost: a.org\r\n\r\n".into(),
            host,
        ),
        ("GET / HTTP/1.1\r\nHost: a.org, b.org\r\n\r\n".into(), host),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), host),
        (
            format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_HEAD)),
            "a head over 64 KiB",
        ),
        ("\x16\x03\x01\x02".into(), "a control byte"),
    ];
    for (head, why) in table {
        assert_eq!(
            raw_head(head.as_bytes()),
            RawHead::Malformed(why),
            "{}",
            head.escape_debug()
        );
        fuzz_request(head.as_bytes());
    }
    assert_eq!(raw_head("a".repeat(MAX_HEAD - 1).as_bytes()), RawHead::Incomplete);
}

#[test]
fn a_head_in_pieces_is_judged_as_a_whole_one() {
    let two = format!("{CURL}{NODE}");
    let (mut reader, mut from) = (HeadReader::default(), 0);
    let mut lens = Vec::new();
    for end in 1..=two.len() {
        match reader.read(&two.as_bytes()[from..end]) {
            RawHead::Complete { len } => {
                lens.push(len);
                from += len;
            }
            other => assert_eq!(other, RawHead::Incomplete),
        }
    }
    assert_eq!(lens, [CURL.len(), NODE.len()]);
    let mut reader = HeadReader::default();
    assert_eq!(reader.read(b"GET / HTTP/1.1\r"), RawHead::Incomplete);
    let refused = RawHead::Malformed("a carriage return without a line feed");
    assert_eq!(reader.read(b"GET / HTTP/1.1\rX"), refused);
    assert_eq!(
        reader.read(CURL.as_bytes()),
        refused,
        "once refused, always refused"
    );
}

#[test]
fn single_bytes_do_not_make_a_head_quadratic() {
    // 64 KiB byte by byte: some 64 KiB are read, where reading anew each time would be 2 GiB and take minutes here.
    let line = [CURL.trim_end().as_bytes(), b"\r\nX: ", &[b'y'; MAX_HEAD]].concat();
    let mut reader = HeadReader::default();
    for end in 1..MAX_HEAD {
        assert_eq!(reader.read(&line[..end]), RawHead::Incomplete);
    }
    assert_eq!(
        reader.read(&line[..MAX_HEAD]),
        RawHead::Malformed("a head over 64 KiB")
    );
}

fn check(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Target, HeadError> {
    check_as(Version::HTTP_11, method, uri, fields)
}

fn check_as(version: Version, method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Target, HeadError> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    check_head(
        &method.parse::<Method>().unwrap(),
        &uri.parse::<Uri>().unwrap(),
        &headers,
        version,
    )
}

#[test]
fn parsed_heads_have_one_host() {
    for (method, uri, host, want) in [
        (
            "GET",
            "/x",
            "API.example.org",
            ("api.example.org", None, Form::Origin),
        ),
        (
            "GET",
            "/x",
            "api.example.org:8443",
            ("api.example.org", Some(8443), Form::Origin),
        ),
        ("GET", "/x", "192.0.2.1", ("192.0.2.1", None, Form::Origin)),
        ("GET", "//evil.org/x", "a.org", ("a.org", None, Form::Origin)),
        ("GET", "http://a.org/x", "a.org", ("a.org", Some(80), Form::Http)),
        (
            "GET",
            "https://a.org/x",
            "a.org:443",
            ("a.org", Some(443), Form::Https),
        ),
        ("OPTIONS", "*", "a.org", ("a.org", None, Form::Asterisk)),
    ] {
        let target = check(method, uri, &[("host", host)]).unwrap();
        assert_eq!(
            (target.host.to_string().as_str(), target.port, target.form),
            want,
            "{uri}"
        );
    }
    use HeadError::*;
    for (method, uri, fields, want) in [
        ("GET", "/", &[][..], NoHost),
        ("GET", "/", &[("host", "a.org"), ("host", "a.org")], SeveralHosts),
        ("GET", "/", &[("host", "u@a.org")], Userinfo),
        ("GET", "/", &[("host", "0x7f000001")], BadHost),
        ("GET", "http://u:p@a.org/", &[("host", "a.org")], Userinfo),
        ("GET", "http://b.org/", &[("host", "a.org")], HostMismatch),
        ("GET", "http://a.org:8080/", &[("host", "a.org")], HostMismatch),
        ("GET", "ftp://a.org/", &[("host", "a.org")], BadTarget),
        ("GET", "a.org:80", &[("host", "a.org")], BadTarget),
        ("GET", "*", &[("host", "a.org")], BadTarget),
        ("CONNECT", "/", &[("host", "a.org")], BadTarget),
        ("CONNECT", "a.org", &[("host", "a.org")], BadTarget),
        ("CONNECT", "a.org:443", &[("host", "b.org:443")], HostMismatch),
        ("TRACE", "/", &[("host", "a.org")], Trace),
    ] {
        assert_eq!(check(method, uri, fields), Err(want), "{method} {uri} {fields:?}");
    }
    let Err(Connect(target)) = check("CONNECT", "a.org:443", &[("host", "a.org:443")]) else {
        panic!()
    };
    assert_eq!(
        (target.to_string().as_str(), target.form),
        ("a.org:443", Form::Authority)
    );
}

#[test]
fn parsed_heads_with_two_meanings_are_refused() {
    use HeadError::*;
    for (fields, want) in [
        (
            &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
            BothLengths,
        ),
        (
            &[("content-length", "5"), ("content-length", "5")],
            BadContentLength,
        ),
        (&[("content-length", "5, 5")], BadContentLength),
        (&[("content-length", "+5")], BadContentLength),
        (&[("content-length", "010")], BadContentLength),
        (&[("content_length", "5")], BadContentLength),
        (
            &[("content-length", "5"), ("Transfer_Encoding", "chunked")],
            BadTransferEncoding,
        ),
        (&[("content-length", "")], BadContentLength),
        (&[("transfer-encoding", "gzip, chunked")], BadTransferEncoding),
        (
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            BadTransferEncoding,
        ),
        (&[("connection", "close, Authorization")], Nominated),
        (&[("connection", "keep-alive"), ("connection", "host")], Nominated),
        (&[("connection", "transfer-encoding")], Nominated),
        (&[("connection", "x y")], Nominated),
        (
            &[("connection", "Upgrade"), ("upgrade", "WebSocket")],
            Upgrade(Protocol::WebSocket),
        ),
        (
            &[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
            ],
            Upgrade(Protocol::H2c),
        ),
        (&[("upgrade", "TLS/1.3")], Upgrade(Protocol::Other)),
        (&[("connection", "upgrade")], Upgrade(Protocol::Other)),
    ] {
        let fields = [&[("host", "a.org")], fields].concat();
        let got = check("POST", "/", &fields);
        assert_eq!(got, Err(want), "{fields:?}");
        assert!(!got.unwrap_err().status().is_success());
    }
    for fields in [
        &[("connection", "keep-alive, TE"), ("te", "trailers")][..],
        &[("connection", ",close,,")],
        &[("content-length", "0")],
        &[("transfer-encoding", "chunked")],
    ] {
        let fields = [&[("host", "a.org")], fields].concat();
        assert!(check("POST", "/", &fields).is_ok(), "{fields:?}");
    }
    let host = ("host", "a.org");
    let chunked = [host, ("transfer-encoding", "chunked")];
    assert_eq!(
        check_as(http::Version::HTTP_10, "POST", "/", &chunked),
        Err(BadTransferEncoding)
    );
    assert_eq!(
        check_as(http::Version::HTTP_3, "GET", "/", &[host]),
        Err(HeadError::Version)
    );
    // HTTP/2 has frames for what these say, and may leave the Host field to its own.
    let two = |target: &str, fields: &[(&str, &str)]| check_as(http::Version::HTTP_2, "GET", target, fields);
    assert_eq!(two("https://a.org/", &[]).unwrap().port, Some(443));
    assert_eq!(
        two("https://a.org/", &[("host", "b.org")]),
        Err(HeadError::HostMismatch)
    );
    assert_eq!(two("/", &[]), Err(HeadError::NoHost));
    for framed in [
        "connection",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
        "proxy-connection",
    ] {
        assert_eq!(
            two("https://a.org/", &[(framed, "close")]),
            Err(HeadError::Hop),
            "{framed}"
        );
    }
    let many = [&[host][..], &[("x", "y"); MAX_HEADERS]].concat();
    assert_eq!(check("GET", "/", &many), Err(TooManyHeaders));
    assert!(check("GET", "/", &many[..MAX_HEADERS]).is_ok());
    assert_eq!(
        check("GET", "/", &[host, ("x", &"y".repeat(MAX_HEAD))]),
        Err(TooLarge)
    );
}

#[test]
fn fields_of_one_hop_go_and_the_others_stay() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "keep-alive, X-Hop"),
        ("connection", "x-two, content-encoding, Content-Type"),
        ("x-hop", "1"),
        ("x-two", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
        ("x-end", "1"),
    ] {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_static(value),
        );
    }
    strip_hop_by_hop(&mut headers);
    let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-encoding", "content-type", "x-end"]);
}
