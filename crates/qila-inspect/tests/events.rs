//! Streams of events: the standard's own examples, model APIs, and streams that have no bound.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_inspect::events::*;

type Owned = (String, Option<String>, Option<String>, Option<u64>);

fn read(text: &[u8], step: usize) -> (Vec<Owned>, Vec<u8>) {
    let (mut reader, mut events, mut written) = (Reader::default(), Vec::new(), Vec::new());
    for piece in text.chunks(step) {
        reader
            .push(piece, |e| {
                let own = |text: Option<&str>| text.map(str::to_owned);
                events.push((
                    e.name.unwrap_or("message").to_owned(),
                    own(e.data),
                    own(e.id),
                    e.retry,
                ));
                e.write(&mut written);
            })
            .unwrap();
        // An empty piece changes nothing.
        reader.push(b"", |_| panic!("an event of nothing")).unwrap();
    }
    (events, written)
}

type Wanted<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<u64>);

fn check(text: &str, want: &[Wanted<'_>]) {
    let want: Vec<Owned> = want
        .iter()
        .map(|(n, d, i, r)| ((*n).to_owned(), d.map(str::to_owned), i.map(str::to_owned), *r))
        .collect();
    for ending in ["\n", "\r\n", "\r"] {
        let text = text.replace('\n', ending);
        for step in [1, 2, 3, 5, 1000] {
            let (events, written) = read(text.as_bytes(), step);
            assert_eq!(events, want, "{text:?} by {step}");
            assert_eq!(read(&written, step).0, want, "{:?}", String::from_utf8(written));
        }
    }
}

#[test]
fn conformance() {
    let data = |text| ("message", Some(text), None, None);
    // The examples of the standard.
    check("data: YHOO\ndata: +2\ndata: 10\n\n", &[data("YHOO\n+2\n10")]);
    check(
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &[
            ("message", None, None, None),
            ("message", Some("first event"), Some("1"), None),
            ("message", Some("second event"), Some(""), None),
            data(" third event"),
        ],
    );
    check("data\n\ndata\ndata\n\ndata:", &[data(""), data("\n")]);
    check("data:test\n\ndata: test\n\n", &[data("test"), data("test")]);
    // Fields.
    check("event: add\ndata: 1\n\n", &[("add", Some("1"), None, None)]);
    check("event: add\nevent:\ndata: 1\n\n", &[data("1")]);
    check("retry: 1000\n\n", &[("message", None, None, Some(1000))]);
    check("retry: 1x\ndata: a\n\n", &[data("a")]);
    check("retry:\ndata: a\n\n", &[data("a")]);
    check("retry: 99999999999999999999999\ndata: a\n\n", &[data("a")]);
    check("id: a\0b\ndata: a\n\n", &[data("a")]);
    check("Data: a\n data: b\ndata : c\nother: d\ndata: e\n\n", &[data("e")]);
    check(
        "\u{feff}data: a\n\n\u{feff}data: b\n\n",
        &[data("a"), ("message", None, None, None)],
    );
    check("\n\n\n", &[]);
    check("data: ends too early\n", &[]);
    // As model APIs send them.
    check(
        "event: message_start\ndata: {\"type\":\"message_start\"}\n\n: ping\n\ndata: [DONE]\n\n",
        &[
            ("message_start", Some("{\"type\":\"message_start\"}"), None, None),
            ("message", None, None, None),
            data("[DONE]"),
        ],
    );
}

#[test]
fn endings_may_be_mixed() {
    for step in 1..9 {
        let (events, _) = read(b"data: a\r\n\ndata: b\r\rdata: c\n\r\ndata: d\r\n\r\n", step);
        let data: Vec<_> = events.iter().map(|e| e.1.as_deref().unwrap()).collect();
        assert_eq!(data, ["a", "b", "c", "d"], "by {step}");
    }
}

#[test]
fn an_event_is_there_with_its_empty_line() {
    let mut reader = Reader::default();
    let mut count = 0;
    reader.push(b"data: a\r\n\r", |_| count += 1).unwrap();
    assert_eq!(count, 1, "it does not wait for the line feed");
}

#[test]
fn what_has_no_end_is_refused() {
    let endless: [&[u8]; 6] = [b"data: x", b"data: x\n", b"data\n", b"x", b"event: ", b":"];
    for text in endless {
        let mut reader = Reader::new(1000);
        let mut many = [text, &[b'x'; 1000], b"\n"].concat();
        if text.ends_with(b"\n") {
            many = text.repeat(1000);
        }
        let mut result = Ok(());
        for piece in many.chunks(7) {
            result = reader.push(piece, |_| ());
            assert!(reader.held() <= 1000);
            if result.is_err() {
                break;
            }
        }
        assert_eq!(result, Err(EventError::Long(1000)), "{}", text.escape_ascii());
        assert_eq!(
            reader.push(b"\n\n", |_| panic!("read on")),
            Err(EventError::Long(1000))
        );
    }
    // Comments without end are dropped, line by line.
    let mut reader = Reader::new(1000);
    for _ in 0..10_000 {
        reader.push(b": still here\nunknown: field\n", |_| ()).unwrap();
        assert_eq!(reader.held(), 0);
    }
}

#[test]
fn only_utf_8() {
    for bad in [
        &b"data: \xff\n"[..],
        b"data: \xc3\n",
        b": \xed\xa0\x80\n",
        b"x\x80\n",
    ] {
        assert_eq!(Reader::default().push(bad, |_| ()), Err(EventError::NotUtf8));
    }
    let (events, _) = read("data: nägel ✓\n\n".as_bytes(), 1);
    assert_eq!(events[0].1.as_deref(), Some("nägel ✓"));
}
