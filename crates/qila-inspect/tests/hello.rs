//! Hellos of real clients, and hellos that nobody should send.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use proptest::prelude::*;
use qila_inspect::hello::{ClientHello, Hello, MAX_EXTENSIONS, MAX_HELLO, client_hello, fuzz_hello};
use rustls::pki_types::ServerName;
use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn rustls_hello(name: &str, alpn: &[&str], fragment: Option<usize>) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.max_fragment_size = fragment;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn complete(bytes: &[u8]) -> ClientHello {
    match client_hello(bytes) {
        Hello::Complete(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// Every shorter prefix is incomplete, and what follows changes nothing.
fn split_everywhere(bytes: &[u8]) -> ClientHello {
    let whole = complete(bytes);
    for cut in 0..bytes.len() {
        assert_eq!(client_hello(&bytes[..cut]), Hello::Incomplete, "{cut}");
    }
    assert_eq!(complete(&[bytes, b"\x14\x03\x03\x00\x01\x01"].concat()), whole);
    whole
}

#[test]
fn rustls_is_read_whole_and_in_pieces() {
    for fragment in [None, Some(64), Some(33)] {
        let hello = split_everywhere(&rustls_hello("API.Example.org", &["h2", "http/1.1"], fragment));
        assert_eq!(hello.sni.unwrap().as_str(), "api.example.org");
        assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert!(!hello.ech && !hello.early_data);
    }
    // A client that dials an address sends no name.
    assert_eq!(split_everywhere(&rustls_hello("192.0.2.1", &[], None)).sni, None);
}

/// Runs a client against a listener that only reads; returns what it sent first.
fn captured(program: &str, args: impl Fn(u16) -> Vec<String>) -> Option<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let child = Command::new(program)
        .args(args(port))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        println!("skipped: {program} is not installed");
        return None;
    };
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while client_hello(&bytes) == Hello::Incomplete {
        match stream.read(&mut piece).unwrap() {
            0 => break,
            n => bytes.extend_from_slice(&piece[..n]),
        }
    }
    drop(stream);
    child.wait().unwrap();
    Some(bytes)
}

#[test]
fn openssl_is_read() {
    for version in ["-tls1_2", "-tls1_3"] {
        let args = |port: u16| {
            let words = format!(
                "s_client -connect 127.0.0.1:{port} -servername pypi.org -alpn h2,http/1.1 {version}"
            );
            words.split(' ').map(str::to_owned).collect()
        };
        let Some(bytes) = captured("openssl", args) else {
            return;
        };
        let hello = split_everywhere(&bytes);
        assert_eq!(hello.sni.unwrap().as_str(), "pypi.org");
        assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }
}

#[test]
fn curl_is_read() {
    let args = |port: u16| {
        let words = format!(
            "-sk --noproxy * --resolve files.example.org:{port}:127.0.0.1 https://files.example.org:{port}/"
        );
        words.split(' ').map(str::to_owned).collect()
    };
    let Some(bytes) = captured("curl", args) else {
        return;
    };
    assert_eq!(
        split_everywhere(&bytes).sni.unwrap().as_str(),
        "files.example.org"
    );
}

// Hellos made by hand.

fn vec16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), vec16(data)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &vec16(&[&[0], vec16(name).as_slice()].concat()))
}

fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &[0, 4, 0x0a, 0x0a, 0x13, 0x01],
        &[1, 0],
        &vec16(&extensions.concat()),
    ]
    .concat();
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &len[1..], &body].concat()
}

fn record(part: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &vec16(part)].concat()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    record(&message(extensions))
}

#[test]
fn grease_ech_and_early_data_are_taken() {
    let read = split_everywhere(&hello(&[
        extension(0x0a0a, b""),
        sni(b"a.example.org"),
        extension(16, &vec16(b"\x02\x1a\x1a\x02h2")),
        extension(0xfe0d, &[0; 40]),
        extension(42, b""),
        extension(0xfafa, b"\x00"),
        extension(41, b"tickets"),
    ]));
    assert_eq!(read.sni.unwrap().as_str(), "a.example.org");
    assert_eq!(read.alpn, [b"\x1a\x1a".to_vec(), b"h2".to_vec()]);
    assert!(read.ech && read.early_data);
}

#[test]
fn a_hello_in_very_many_records_is_refused() {
    let message = message(&[sni(b"a.example.org"), extension(21, &[0; 600])]);
    let bytes: Vec<u8> = message.chunks(1).flat_map(record).collect();
    let refused = Hello::Malformed("the hello is in too many records");
    assert_eq!(client_hello(&bytes), refused);
    assert_eq!(client_hello(&bytes[..6 * 512]), refused);
    assert_eq!(client_hello(&bytes[..6 * 512 - 1]), Hello::Incomplete);
}

#[test]
fn records_of_any_size_are_joined() {
    let message = message(&[sni(b"a.example.org"), extension(21, &[0; 300])]);
    for size in [1, 2, 3, 4, 5, 7, 50, 299] {
        let bytes: Vec<u8> = message.chunks(size).flat_map(record).collect();
        assert_eq!(complete(&bytes).sni.unwrap().as_str(), "a.example.org", "{size}");
        for cut in 0..bytes.len() {
            assert_eq!(client_hello(&bytes[..cut]), Hello::Incomplete, "{size} {cut}");
        }
    }
}

#[test]
fn hellos_that_can_be_read_two_ways_are_refused() {
    let good = message(&[sni(b"a.example.org")]);
    let two = vec16(&[&[0][..], &vec16(b"a.org"), &[0], &vec16(b"b.org")].concat());
    let name = "the server name is no host name";
    for (bytes, why) in [
        (
            hello(&[sni(b"a.org"), sni(b"a.org")]),
            "an extension is there twice",
        ),
        (
            hello(&[extension(0x1a1a, b""), extension(0x1a1a, b"")]),
            "an extension is there twice",
        ),
        (hello(&[extension(0, &two)]), "more than one server name"),
        (
            hello(&[extension(
                0,
                &[vec16(&[&[0][..], &vec16(b"a.org")].concat()), vec![0]].concat(),
            )]),
            "more than one server name",
        ),
        (hello(&[extension(0, b"")]), "a length goes past the end"),
        (
            hello(&[extension(0, &vec16(&[&[1][..], &vec16(b"a.org")].concat()))]),
            "the server name is of an unknown kind",
        ),
        (hello(&[sni(b"192.0.2.1")]), name),
        (hello(&[sni(b"2130706433")]), name),
        (hello(&[sni(b"::1")]), name),
        (hello(&[sni(b"a.org\0.b.org")]), name),
        (hello(&[sni(b"a.org.")]), name),
        (hello(&[sni(b"")]), name),
        (hello(&[sni(b"caf\xc3\xa9.org")]), name),
        (hello(&[sni(&[b'a'; 300])]), name),
        (hello(&[extension(16, &vec16(b""))]), "the protocols are no list"),
        (hello(&[extension(16, &vec16(b"\0"))]), "a protocol has no name"),
        (
            hello(&[extension(41, b""), sni(b"a.org")]),
            "the pre-shared key is not last",
        ),
        (
            hello(&[extension(42, b"x")]),
            "the early data extension is not empty",
        ),
        (
            hello(
                &(0..=MAX_EXTENSIONS as u16)
                    .map(|k| extension(1000 + k, b""))
                    .collect::<Vec<_>>(),
            ),
            "too many extensions",
        ),
        (
            hello(&[extension(21, &vec![0; MAX_HELLO])]),
            "a record of an impossible length",
        ),
        (record(&[1, 0, 0x40, 0]), "the hello is too long"),
        (
            record(&[&good[..], b"\x01"].concat()),
            "more than the hello in its record",
        ),
        (
            record(b"\x02\0\0\x04"),
            "a handshake that does not begin with a hello",
        ),
        (
            [record(&good[..20]), b"\x15\x03\x03\0\x02\x02\x28".to_vec()].concat(),
            "another record inside the hello",
        ),
        (
            [record(&good[..20]), record(b"")].concat(),
            "a record of an impossible length",
        ),
        (b"\x16\x03\x09\0\x10".to_vec(), "a record of an unknown version"),
        (b"\x80\x2e\x01\x00\x02\x00\x15".to_vec(), "an SSLv2 hello"),
    ] {
        assert_eq!(client_hello(&bytes), Hello::Malformed(why));
        fuzz_hello(&bytes);
    }
}

#[test]
fn what_is_not_tls_is_said_so() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x",
        b"\0",
        b"\x16\x01",
        b"\x80\x01\x02",
        b"\xff\xff\xff",
    ] {
        assert_eq!(client_hello(bytes), Hello::NotTls, "{bytes:?}");
    }
    for bytes in [&b""[..], b"\x16", b"\x16\x03", b"\x80"] {
        assert_eq!(client_hello(bytes), Hello::Incomplete, "{bytes:?}");
    }
}

#[test]
fn a_hello_that_never_ends_is_refused_at_the_limit() {
    let message = [&[1, 0, 0x3f, 0xf0][..], &vec![0; 0x3ff0]].concat();
    let bytes: Vec<u8> = message.chunks(64).flat_map(record).collect();
    assert_eq!(client_hello(&bytes[..MAX_HELLO - 1]), Hello::Incomplete);
    assert_eq!(
        client_hello(&bytes[..MAX_HELLO]),
        Hello::Malformed("the hello is too long")
    );
    assert_eq!(client_hello(&bytes), Hello::Malformed("the hello is too long"));
}

proptest! {
    #[test]
    fn a_changed_byte_never_panics(at in 0usize..600, byte: u8, cut in 0usize..600) {
        let mut bytes = rustls_hello("api.example.org", &["h2"], Some(100));
        if let Some(b) = bytes.get_mut(at) {
            *b = byte;
        }
        fuzz_hello(&bytes);
        fuzz_hello(&bytes[..cut.min(bytes.len())]);
    }
}
