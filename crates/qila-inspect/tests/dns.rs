//! Questions and answers, with another implementation as the judge.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;
use qila_inspect::dns::*;
use std::net::Ipv4Addr;

fn ask(name: &str, kind: RecordType, edns: bool) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 0x1234;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if edns {
        message.set_edns(Edns::new());
    }
    message.to_vec().unwrap()
}

/// What glibc sends for `getaddrinfo("Example.org")`, A.
const GLIBC: &[u8] = b"\xd4\x31\x01\x00\0\x01\0\0\0\0\0\0\x07Example\x03org\0\0\x01\0\x01";

/// What dig sends: AD set, an OPT record with a cookie.
const DIG: &[u8] = b"\x0b\x5c\x01\x20\0\x01\0\0\0\0\0\x01\x07example\x03org\0\0\x01\0\x01\
    \0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08\x6c\x9e\x07\x11\x90\x1b\x2f\xd6";

#[test]
fn questions_of_real_resolvers_are_read() {
    let q = question(GLIBC).unwrap();
    assert_eq!(
        (q.id, q.qtype, q.qclass, q.rd, q.edns),
        (0xd431, TYPE_A, 1, true, false)
    );
    assert_eq!(
        (q.name.unwrap().as_str(), q.shown.as_str()),
        ("example.org", "Example.org")
    );
    let q = question(DIG).unwrap();
    assert!(q.edns && q.name.unwrap().as_str() == "example.org");
    let q = question(&ask("a.b.example.org.", RecordType::AAAA, true)).unwrap();
    assert_eq!(
        (q.shown.as_str(), q.qtype, q.edns),
        ("a.b.example.org", TYPE_AAAA, true)
    );
}

#[test]
fn another_implementation_reads_the_answers() {
    let long = format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "b".repeat(61));
    for (name, edns) in [
        ("Example.org.", false),
        ("example.org.", true),
        (&long, true),
        (".", false),
    ] {
        let q = question(&ask(name, RecordType::A, edns)).unwrap();
        for (bytes, code, answers) in [
            (
                answer_address(&q, Ipv4Addr::new(198, 18, 0, 7), 60),
                ResponseCode::NoError,
                1,
            ),
            (empty(&q), ResponseCode::NoError, 0),
            (refused(&q), ResponseCode::Refused, 0),
        ] {
            assert!(bytes.len() <= MAX_ANSWER);
            let read = Message::from_vec(&bytes).unwrap();
            assert_eq!(read.metadata.id, 0x1234);
            assert_eq!(read.metadata.message_type, MessageType::Response);
            assert!(read.metadata.recursion_desired && !read.metadata.truncation);
            assert_eq!(read.metadata.response_code, code);
            assert_eq!(
                read.queries[0].name().to_ascii(),
                name,
                "upper and lower case are kept"
            );
            assert_eq!(read.edns.is_some(), edns);
            assert_eq!(read.answers.len(), answers);
            for answer in &read.answers {
                assert_eq!(answer.name.to_ascii(), name);
                assert_eq!(answer.ttl, 60);
                assert!(matches!(&answer.data, RData::A(a) if a.0 == Ipv4Addr::new(198, 18, 0, 7)));
            }
            assert_eq!(question(&bytes), Err(DnsError::Answer));
        }
    }
    let read = Message::from_vec(&error(9, Rcode::ServFail)).unwrap();
    assert_eq!(
        (read.metadata.id, read.metadata.response_code),
        (9, ResponseCode::ServFail)
    );
}

#[test]
fn an_address_answers_only_a_question_for_one() {
    for kind in [
        RecordType::AAAA,
        RecordType::TXT,
        RecordType::ANY,
        RecordType::HTTPS,
        RecordType::MX,
    ] {
        let q = question(&ask("example.org.", kind, false)).unwrap();
        assert_eq!(answer_address(&q, Ipv4Addr::LOCALHOST, 1), empty(&q), "{kind}");
    }
}

fn packet(head: [u8; 10], rest: &[u8]) -> Vec<u8> {
    [&[0, 7][..], &head, rest].concat()
}

const ONE: [u8; 10] = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0];

#[test]
fn names_that_are_no_host_are_shown_harmlessly() {
    for (wire, shown) in [
        (&b"\x05a\x1b[2J\x03org\0"[..], "a\\027[2J.org"),
        (b"\x05a.org\0", "a\\046org"),
        (b"\x02a\\\x02\xff \0", "a\\092.\\255\\032"),
        (b"\x09127.0.0.1\0", "127\\0460\\0460\\0461"),
        (b"\x01*\x03org\0", "*.org"),
        (b"\0", "."),
        (b"\x0a2130706433\0", "2130706433"),
    ] {
        let q = question(&packet(ONE, &[wire, b"\0\x10\0\x01"].concat())).unwrap();
        assert_eq!((q.name, q.shown.as_str()), (None, shown));
    }
    let worst = [
        &[63][..],
        &[0; 63],
        &[63],
        &[0; 63],
        &[63],
        &[0; 63],
        &[61],
        &[0; 61],
        b"\0\0\x10\0\x01",
    ]
    .concat();
    let q = question(&packet(ONE, &worst)).unwrap();
    assert!(q.shown.len() == MAX_SHOWN && q.shown.ends_with("..."));
}

#[test]
fn packets_that_are_no_question_are_answered_as_they_should() {
    let plain = b"\x01a\0\0\x01\0\x01";
    let with = |at: usize, value: u8| {
        let mut head = ONE;
        head[at] = value;
        head
    };
    let opt = |more: &[u8]| [&plain[..], more].concat();
    let long = [
        [63].iter()
            .chain(&[b'a'; 63])
            .copied()
            .collect::<Vec<u8>>()
            .repeat(4),
        b"\0\0\x01\0\x01".to_vec(),
    ]
    .concat();
    use Rcode::{FormErr, NotImp};
    for (bytes, rcode) in [
        (b"\0\x07\x01\0\0\x01\0\0\0\0\0".to_vec(), None),
        (packet(with(0, 0x81), plain), None),
        (packet(with(0, 0x29), plain), Some(NotImp)),
        (packet(ONE, b"\x01a\0\0\x01\0\x03"), Some(NotImp)),
        (packet(ONE, b"\x01a\0\0\x01\0\xff"), Some(NotImp)),
        (packet(with(0, 0x03), plain), Some(FormErr)),
        (packet(with(3, 0), b""), Some(FormErr)),
        (packet(with(3, 2), &[&plain[..], plain].concat()), Some(FormErr)),
        (packet(with(2, 1), plain), Some(FormErr)),
        (packet(with(5, 1), plain), Some(FormErr)),
        (packet(with(7, 1), plain), Some(FormErr)),
        (packet(with(9, 2), plain), Some(FormErr)),
        (packet(with(9, 1), plain), Some(FormErr)),
        (packet(ONE, &opt(b"x")), Some(FormErr)),
        (
            packet(with(9, 1), &opt(b"\0\0\x01\x04\xd0\0\0\0\0\0\0")),
            Some(FormErr),
        ),
        (
            packet(with(9, 1), &opt(b"\0\0\x29\x04\xd0\0\x01\0\0\0\0")),
            Some(FormErr),
        ),
        (
            packet(with(9, 1), &opt(b"\0\0\x29\x04\xd0\0\0\0\0\0\x01")),
            Some(FormErr),
        ),
        (
            packet(with(9, 1), &opt(b"\0\0\x29\x04\xd0\0\0\0\0\0\0x")),
            Some(FormErr),
        ),
        (packet(ONE, b"\xc0\x0c\0\x01\0\x01"), Some(FormErr)),
        (packet(ONE, b"\x01a\xc0\x0c\0\x01\0\x01"), Some(FormErr)),
        (packet(ONE, b"\x40a\0\0\x01\0\x01"), Some(FormErr)),
        (packet(ONE, b"\x05a\0"), Some(FormErr)),
        (packet(ONE, b"\x01a\0\0\x01\0"), Some(FormErr)),
        (packet(ONE, &long), Some(FormErr)),
        (packet(ONE, &[0; MAX_QUESTION]), Some(FormErr)),
    ] {
        let error = question(&bytes).unwrap_err();
        assert_eq!(error.rcode(), rcode, "{error}");
        assert_eq!(
            error.answer().map(|a| (a.len(), a[..2].to_vec())),
            rcode.map(|_| (12, vec![0, 7]))
        );
        fuzz_dns(&bytes);
    }
}

proptest! {
    #[test]
    fn any_name_is_read_as_the_other_implementation_reads_it(labels in prop::collection::vec("[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,18}[a-zA-Z0-9])?", 1..8)) {
        let name = labels.join(".");
        let bytes = ask(&format!("{name}."), RecordType::A, false);
        prop_assert_eq!(question(&bytes).unwrap().shown, name);
    }
}
