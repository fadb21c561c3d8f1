//! gRPC: framing, and what requests and trailers must say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use qila_inspect::filter::{Filter, Mask, Pass, Refuse, Stopped};
use qila_inspect::grpc::*;
use qila_inspect::mask::Masker;
use qila_inspect::placeholder::Finder;

fn message(flag: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], payload].concat()
}

fn run(
    bytes: &[u8],
    step: usize,
    encoded: bool,
    filter: &mut impl Filter,
) -> (Result<(), GrpcError>, Vec<u8>, u64) {
    let (mut frames, mut out) = (Frames::new(100, encoded), Vec::new());
    let done = bytes
        .chunks(step)
        .try_for_each(|piece| frames.push(piece, filter, &mut out))
        .and_then(|()| frames.finish());
    (done, out, frames.messages())
}

#[test]
fn framing() {
    use GrpcError::*;
    let two = [message(0, b"hello"), message(0, b"")].concat();
    type Row = (Vec<u8>, bool, Result<(), GrpcError>, u64);
    let table: Vec<Row> = vec![
        (vec![], false, Ok(()), 0),
        (message(0, b""), false, Ok(()), 1),
        (two.clone(), false, Ok(()), 2),
        (message(0, &[7; 100]), false, Ok(()), 1),
        (message(0, &[7; 101]), false, Err(Long(100)), 0),
        (b"\0\xff\xff\xff\xff".to_vec(), false, Err(Long(100)), 0),
        (message(1, b"zip"), true, Ok(()), 1),
        (message(1, b"zip"), false, Err(Compressed), 0),
        (message(2, b"x"), true, Err(Flag), 0),
        // The trailers of gRPC-Web.
        (message(0x80, b"grpc-status:0\r\n"), true, Err(Flag), 0),
        (two[..3].to_vec(), false, Err(Short), 0),
        (two[..9].to_vec(), false, Err(Short), 1),
        (two[..10].to_vec(), false, Ok(()), 1),
        (two[..14].to_vec(), false, Err(Short), 1),
    ];
    for (bytes, encoded, want, messages) in table {
        for step in [1, 2, 3, 5, 7, 1000] {
            let (done, out, count) = run(&bytes, step, encoded, &mut Pass);
            assert_eq!(
                (done, count),
                (want, messages),
                "{} by {step}",
                bytes.escape_ascii()
            );
            assert!(bytes.starts_with(&out));
            assert!(want.is_err() || out == bytes);
        }
    }
}

#[test]
fn secrets_are_masked_within_a_message_and_nothing_waits_for_the_next() {
    const KEY: &[u8] = b"sk-live-0123456789";
    let masker = Masker::new(&[KEY]).unwrap();
    let bytes = [
        message(0, &[b"a ", KEY, b" b"].concat()),
        message(0, b"it begins: sk-live-"),
        message(0, b"0123456789"),
        message(0, KEY),
    ]
    .concat();
    let want = [
        message(0, b"a ****************** b"),
        message(0, b"it begins: sk-live-"),
        message(0, b"0123456789"),
        message(0, &[b'*'; 18]),
    ]
    .concat();
    for step in [1, 2, 3, 11, 1000] {
        let mut mask = Mask::new(&masker);
        assert_eq!(
            run(&bytes, step, false, &mut mask),
            (Ok(()), want.clone(), 4),
            "by {step}"
        );
        assert_eq!(mask.hits(), 2);
    }
    let (mut frames, mut out) = (Frames::new(100, false), Vec::new());
    let mut mask = Mask::new(&masker);
    frames.push(&bytes[..27 + 24], &mut mask, &mut out).unwrap();
    assert_eq!(
        out,
        want[..27 + 24],
        "the second message is out though it ends as a secret begins"
    );
}

#[test]
fn placeholders_stop_it() {
    let finder = Finder::new(&[b"qila_placeholder_7f3a9c"]).unwrap();
    let bytes = [message(0, b"fine"), message(0, b"k=qila_placeholder_7f3a9c")].concat();
    for step in [1, 4, 1000] {
        let (done, out, _) = run(&bytes, step, false, &mut Refuse::new(&finder));
        assert_eq!(done, Err(GrpcError::Stopped));
        assert!(!finder.find(&out));
    }
}

#[test]
fn a_filter_that_changes_lengths_is_stopped() {
    struct Odd(usize, usize);
    impl Filter for Odd {
        fn push(&mut self, _: &[u8], out: &mut Vec<u8>) -> Result<(), Stopped> {
            out.extend(vec![0; self.0]);
            Ok(())
        }
        fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Stopped> {
            out.extend(vec![0; self.1]);
            Ok(())
        }
        fn short(&mut self, _: &mut [u8]) -> Result<(), Stopped> {
            Ok(())
        }
    }
    let bytes = message(0, b"hello");
    assert_eq!(run(&bytes, 99, false, &mut Odd(4, 1)).0, Ok(()));
    for odd in [Odd(6, 0), Odd(4, 0), Odd(4, 2), Odd(0, 0)] {
        assert_eq!(run(&bytes, 99, false, &mut { odd }).0, Err(GrpcError::Length));
    }
}

#[test]
fn paths() {
    for (text, want) in [
        (
            "/helloworld.Greeter/SayHello",
            Some(("helloworld.Greeter", "SayHello")),
        ),
        ("/Greeter/SayHello", Some(("Greeter", "SayHello"))),
        ("/a.b.v1_2.C_d/E9", Some(("a.b.v1_2.C_d", "E9"))),
        ("", None),
        ("/", None),
        ("Greeter/SayHello", None),
        ("/Greeter", None),
        ("/Greeter/", None),
        ("//SayHello", None),
        ("/Greeter/Say/Hello", None),
        ("/Greeter//SayHello", None),
        ("/a..b/C", None),
        ("/.a/C", None),
        ("/a./C", None),
        ("/a.B/C.d", None),
        ("/a.B/C%2Fd", None),
        ("/a.B/../C", None),
        ("/9a.B/C", None),
        ("/a.B/C ", None),
        ("/a.B/Cé", None),
    ] {
        let got = path(text).ok().map(|c| (c.service, c.method));
        assert_eq!(got, want, "{text}");
    }
    assert!(path(&format!("/a/{}", "b".repeat(2000))).is_err());
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair =
        |(n, v): &(&'static str, &'static str)| (HeaderName::from_static(n), HeaderValue::from_static(v));
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}

#[test]
fn requests_and_trailers() {
    for (kind, is) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("Application/gRPC+json; charset=utf-8", true),
        ("application/grpc-web", false),
        ("application/grpc-web+proto", false),
        ("application/grpc+", false),
        ("application/grpcx", false),
        ("application/json", false),
        ("", false),
    ] {
        assert_eq!(is_grpc(&map(&[("content-type", kind)])), is, "{kind}");
    }
    let twice = [
        ("content-type", "application/grpc"),
        ("content-type", "application/grpc"),
    ];
    assert!(!is_grpc(&map(&twice)));
    let good = map(&[("content-type", "application/grpc"), ("te", "trailers")]);
    let uri = |text: &str| text.parse::<Uri>().unwrap();
    let call = uri("https://a.org/pkg.S/M");
    assert_eq!(
        request(&Method::POST, &call, &good),
        Ok(Call {
            service: "pkg.S",
            method: "M"
        })
    );
    assert_eq!(request(&Method::GET, &call, &good), Err(GrpcError::Method));
    assert_eq!(
        request(&Method::POST, &uri("/pkg.S/M?x=1"), &good),
        Err(GrpcError::Path)
    );
    assert_eq!(
        request(&Method::POST, &call, &map(&[])),
        Err(GrpcError::ContentType)
    );
    assert_eq!(
        request(
            &Method::POST,
            &call,
            &map(&[("content-type", "application/grpc")])
        ),
        Err(GrpcError::Te)
    );
    for (value, want) in [
        ("0", Ok(0)),
        ("7", Ok(7)),
        ("16", Ok(16)),
        ("17", Err(GrpcError::Status)),
        ("00", Err(GrpcError::Status)),
        ("-1", Err(GrpcError::Status)),
        ("100", Err(GrpcError::Status)),
        ("", Err(GrpcError::Status)),
    ] {
        assert_eq!(status(&map(&[("grpc-status", value)])), want, "{value}");
    }
    assert!(status(&map(&[])).is_err());
    assert!(status(&map(&[("grpc-status", "0"), ("grpc-status", "0")])).is_err());
    let mut wishes = map(&[("grpc-accept-encoding", "gzip"), ("grpc-encoding", "gzip")]);
    assert!(is_encoded(&wishes) && !is_encoded(&map(&[("grpc-encoding", "identity")])));
    plain(&mut wishes);
    assert!(!wishes.contains_key("grpc-accept-encoding"));
}

#[test]
fn a_changed_prefix_is_another_message_or_refused() {
    let good = [message(0, b"abc"), message(0, b"defg")].concat();
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bad = good.clone();
            bad[at] = byte;
            fuzz_grpc(&bad);
            if at == 0 && byte != 0 {
                assert!(run(&bad, 3, false, &mut Pass).0.is_err());
            }
        }
    }
}
