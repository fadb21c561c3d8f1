//! WebSocket frames: the standard's examples, hostile ones, and secrets cut into fragments.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_inspect::filter::{Filter, Mask, Pass, Refuse};
use qila_inspect::mask::Masker;
use qila_inspect::placeholder::Finder;
use qila_inspect::websocket::*;

const STEPS: [usize; 6] = [1, 2, 3, 7, 64, 1 << 20];

/// A frame as an end would write it.
fn frame(from: Side, first: u8, payload: &[u8]) -> Vec<u8> {
    let bit = if from == Side::Client { 0x80 } else { 0 };
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(bit | n as u8),
        n @ 126..=65535 => {
            out.push(bit | 126);
            out.extend((n as u16).to_be_bytes());
        }
        n => {
            out.push(bit | 127);
            out.extend((n as u64).to_be_bytes());
        }
    }
    if from == Side::Client {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        out.extend(key);
        out.extend(payload.iter().enumerate().map(|(at, b)| b ^ key[at % 4]));
    } else {
        out.extend(payload);
    }
    out
}

type Frame = (u8, Vec<u8>);

/// Reads whole frames as simply as can be: first byte and payload; none: they are not whole.
fn frames(from: Side, mut bytes: &[u8]) -> Option<Vec<Frame>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let short = usize::from(bytes.get(1)? & 0x7f);
        let (length, mut at) = match short {
            126 => (
                usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
                4,
            ),
            127 => (
                usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?,
                10,
            ),
            n => (n, 2),
        };
        let mut key = [0; 4];
        if from == Side::Client {
            key.copy_from_slice(bytes.get(at..at + 4)?);
            at += 4;
        }
        let payload = bytes.get(at..at.checked_add(length)?)?;
        out.push((
            bytes[0],
            payload
                .iter()
                .enumerate()
                .map(|(at, b)| b ^ key[at % 4])
                .collect(),
        ));
        bytes = &bytes[at + length..];
    }
    Some(out)
}

/// Messages and control frames, in order of their ends.
fn joined(frames: &[Frame]) -> Vec<Frame> {
    let (mut out, mut open): (Vec<Frame>, Option<Frame>) = (Vec::new(), None);
    for (first, payload) in frames {
        if first & 8 != 0 {
            out.push((*first, payload.clone()));
            continue;
        }
        let mut message = open.take().unwrap_or((first & 15, Vec::new()));
        message.1.extend(payload);
        if first & 0x80 != 0 {
            out.push(message)
        } else {
            open = Some(message)
        }
    }
    out
}

fn run(from: Side, bytes: &[u8], step: usize, filter: &mut impl Filter) -> (Result<(), FrameError>, Vec<u8>) {
    let (mut relay, mut out, mut count) = (Relay::new(from), Vec::new(), 0u8);
    let done = bytes
        .chunks(step)
        .try_for_each(|piece| {
            let key = || {
                count = count.wrapping_add(1);
                [count, 9, 8, 7]
            };
            relay.push(piece, filter, key, &mut out)
        })
        .and_then(|()| relay.finish());
    (done, out)
}

#[test]
fn good_streams_pass_and_say_the_same() {
    let table: Vec<Vec<Frame>> = vec![
        vec![],
        vec![(0x81, b"Hello".to_vec())],
        vec![(0x01, b"Hel".to_vec()), (0x80, b"lo".to_vec())],
        vec![
            (0x89, b"Hello".to_vec()),
            (0x8a, b"Hello".to_vec()),
            (0x8a, vec![]),
        ],
        vec![(0x82, vec![7; 256])],
        vec![(0x82, vec![7; 65536])],
        vec![(0x82, vec![7; 125]), (0x82, vec![7; 126]), (0x82, vec![7; 65535])],
        vec![(0x81, vec![]), (0x82, vec![])],
        vec![(0x01, vec![]), (0x00, vec![]), (0x80, vec![])],
        // Control frames between fragments, and a character cut by them.
        vec![
            (0x01, b"caf\xc3".to_vec()),
            (0x89, b"?".to_vec()),
            (0x00, vec![]),
            (0x8a, b"!".to_vec()),
            (0x80, b"\xa9 \xf0\x9f\x98\x80".to_vec()),
            (0x02, b"\xff".to_vec()),
            (0x80, b"\xfe".to_vec()),
        ],
        vec![(0x88, vec![])],
        vec![(0x88, vec![0x03, 0xe8])],
        vec![(0x88, [&[0x0f, 0xa0][..], "tschüß".as_bytes()].concat())],
        vec![(0x01, b"half".to_vec()), (0x88, vec![0x03, 0xe9])],
        vec![(0x89, vec![1; 125])],
    ];
    for list in table {
        for from in [Side::Client, Side::Server] {
            let bytes: Vec<u8> = list
                .iter()
                .flat_map(|(first, p)| frame(from, *first, p))
                .collect();
            for step in STEPS {
                let (done, out) = run(from, &bytes, step, &mut Pass);
                let open = list.first().is_some_and(|f| f.1 == b"half");
                assert_eq!(
                    done,
                    if open { Err(FrameError::Short) } else { Ok(()) },
                    "{list:?}"
                );
                let got = frames(from, &out).unwrap();
                assert_eq!(joined(&got), joined(&list), "by {step}");
                if step == 1 << 20 {
                    // Cut as it came, but for empty fragments.
                    let want = joined(&list).len() == list.len();
                    assert!(!want || got == list);
                }
            }
        }
    }
}

#[test]
fn bad_streams_are_refused() {
    use FrameError::*;
    let c = |first, payload: &[u8]| frame(Side::Client, first, payload);
    let close = |code: u16| c(0x88, &code.to_be_bytes());
    let mut table: Vec<(Vec<u8>, FrameError)> = vec![
        (c(0xc1, b"x"), Reserved),
        (c(0xa1, b"x"), Reserved),
        (c(0x91, b"x"), Reserved),
        (c(0xc9, b""), Reserved),
        ([c(0x01, b"x"), c(0xc0, b"x")].concat(), Reserved),
        (c(0x08, b""), Control),
        (c(0x09, b"x"), Control),
        (c(0x89, &[0; 126]), Control),
        (c(0x88, &[0; 70000]), Control),
        (frame(Side::Server, 0x81, b"Hello"), Mask(Side::Client)),
        (c(0x80, b"x"), Order),
        (c(0x00, b"x"), Order),
        ([c(0x01, b"a"), c(0x81, b"b")].concat(), Order),
        ([c(0x02, b"a"), c(0x02, b"b")].concat(), Order),
        ([c(0x81, b"a"), c(0x80, b"b")].concat(), Order),
        (b"\x82\xfe\0\x7d\0\0\0\0".to_vec(), Length),
        (b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0".to_vec(), Length),
        (b"\x82\xff\x80\0\0\0\0\x01\0\0\0\0\0\0".to_vec(), Length),
        (c(0x81, b"\xff"), Text),
        (c(0x81, b"caf\xc3"), Text),
        ([c(0x01, b"\xf4"), c(0x80, b"\x90\x80\x80")].concat(), Text),
        ([c(0x01, b"\xed"), c(0x00, b"\xa0")].concat(), Text),
        (c(0x88, b"\x03"), CloseCode),
        (c(0x88, b"\x03\xe8\xff"), Text),
        ([close(1000), c(0x81, b"more")].concat(), Closed),
        ([close(1000), close(1000)].concat(), Closed),
        (c(0x81, b"Hello")[..7].to_vec(), Short),
        (c(0x81, b"Hello")[..1].to_vec(), Short),
        (c(0x01, b"Hello"), Short),
    ];
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        table.push((close(code), CloseCode));
    }
    for code in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        table.push((c(0x80 | code, b""), Opcode));
    }
    for (bytes, why) in &table {
        for step in STEPS {
            let (done, out) = run(Side::Client, bytes, step, &mut Pass);
            assert_eq!(done, Err(*why), "{} by {step}", bytes.escape_ascii());
            assert!(
                frames(Side::Client, &out).is_some(),
                "what went out before is whole"
            );
            assert!((1002..=1008).contains(&why.close_code()));
        }
    }
    assert_eq!(
        run(Side::Server, &c(0x81, b"x"), 9, &mut Pass).0,
        Err(Mask(Side::Server))
    );
    for code in [1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999] {
        assert_eq!(run(Side::Client, &close(code), 9, &mut Pass).0, Ok(()), "{code}");
    }
}

#[test]
fn a_huge_frame_streams_through_and_nothing_is_kept() {
    let (mut relay, mut out, mut sent) = (Relay::new(Side::Server), Vec::new(), 0usize);
    relay
        .push(b"\x82\x7f\0\0\0\x10\0\0\0\0", &mut Pass, || [0; 4], &mut out)
        .unwrap();
    for _ in 0..1000 {
        out.clear();
        relay.push(&[7; 16384], &mut Pass, || [0; 4], &mut out).unwrap();
        assert_eq!(out.len(), 16384 + 4, "all goes on at once, under one head");
        sent += frames(Side::Server, &out).unwrap()[0].1.len();
    }
    assert_eq!(sent, 16384 * 1000);
}

#[test]
fn every_frame_of_the_client_has_a_fresh_key_and_the_payload_is_hidden() {
    let bytes = [
        frame(Side::Client, 0x01, b"aaaaaaaa"),
        frame(Side::Client, 0x80, b"aaaaaaaa"),
    ]
    .concat();
    let (done, out) = run(Side::Client, &bytes, 100, &mut Pass);
    done.unwrap();
    assert_eq!(&out[..6], b"\x01\x88\x01\x09\x08\x07");
    assert_eq!(&out[14..20], b"\x80\x88\x02\x09\x08\x07");
    assert!(!out.windows(3).any(|w| w == b"aaa"));
}

const KEY: &[u8] = b"sk-live-0123456789";

#[test]
fn secrets_are_masked_however_they_are_cut_into_fragments() {
    let masker = Masker::new(&[KEY]).unwrap();
    let text = [b"key: ", KEY, b"; sk-live"].concat();
    let want = [b"key: ", &[b'*'; 18][..], b"; sk-live"].concat();
    for cut in 0..text.len() {
        for other in [cut, (cut + 3).min(text.len()), text.len()] {
            let s = |first, payload: &[u8]| frame(Side::Server, first, payload);
            let bytes = [
                s(0x01, &text[..cut]),
                s(0x89, b"are you there?"),
                s(0x00, &text[cut..other]),
                s(0x8a, KEY),
                s(0x80, &text[other..]),
                s(0x81, b"next"),
                s(0x88, &[&[0x03, 0xe8][..], KEY].concat()),
            ]
            .concat();
            for step in STEPS {
                let mut mask = Mask::new(&masker);
                let (done, out) = run(Side::Server, &bytes, step, &mut mask);
                assert_eq!(done, Ok(()));
                assert_eq!(mask.hits(), 3);
                let got = joined(&frames(Side::Server, &out).unwrap());
                let want = [
                    (0x89, b"are you there?".to_vec()),
                    (0x8a, vec![b'*'; 18]),
                    (1, want.clone()),
                    (1, b"next".to_vec()),
                    (0x88, [&[0x03, 0xe8][..], &[b'*'; 18]].concat()),
                ];
                assert_eq!(got, want, "{cut} {other} by {step}");
            }
        }
    }
}

#[test]
fn placeholders_stop_it() {
    let finder = Finder::new(&[b"qila_placeholder_7f3a9c"]).unwrap();
    let c = |first, payload: &[u8]| frame(Side::Client, first, payload);
    let mark = b"qila_placeholder_7f3a9c";
    for bytes in [
        c(0x81, mark),
        [c(0x01, &mark[..9]), c(0x89, b"x"), c(0x80, &mark[9..])].concat(),
        c(0x89, mark),
        c(0x88, &[&[0x03, 0xe8][..], mark].concat()),
    ] {
        for step in STEPS {
            let (done, out) = run(Side::Client, &bytes, step, &mut Refuse::new(&finder));
            assert_eq!(done, Err(FrameError::Stopped));
            for (_, payload) in joined(&frames(Side::Client, &out).unwrap()) {
                assert!(!finder.find(&payload));
            }
        }
    }
    assert_eq!(
        run(Side::Client, &c(0x81, b"fine"), 3, &mut Refuse::new(&finder)).0,
        Ok(())
    );
}

/// A second opinion on a whole stream of a client, written without a thought for pieces: its messages, or none.
fn opinion(bytes: &[u8]) -> Option<Vec<Frame>> {
    let list = frames(Side::Client, bytes)?;
    let (mut at, mut open, mut text) = (0, false, Vec::new());
    for (n, (first, payload)) in list.iter().enumerate() {
        let second = bytes[at + 1];
        let size = match second & 0x7f {
            126 if payload.len() > 125 => 8,
            127 if payload.len() > 65535 => 14,
            126 | 127 => return None,
            _ => 6,
        };
        at += size + payload.len();
        let last = first & 0x80 != 0;
        if second & 0x80 == 0 || first & 0x70 != 0 {
            return None;
        }
        match first & 15 {
            0 if !open => return None,
            1 | 2 if open => return None,
            0 => {}
            1 => text = vec![0],
            2 => text.clear(),
            8..=10 if !last || payload.len() > 125 => return None,
            8 => {
                let code = payload.first_chunk::<2>().map(|c| u16::from_be_bytes(*c));
                let fine = matches!(code, Some(1000..=1003 | 1007..=1014 | 3000..=4999));
                let fine = fine && std::str::from_utf8(&payload[2..]).is_ok();
                if !(payload.is_empty() || fine) || n + 1 < list.len() {
                    return None;
                }
                continue;
            }
            9 | 10 => continue,
            _ => return None,
        }
        open = !last;
        if !text.is_empty() {
            text.extend(payload);
            if last && std::str::from_utf8(&text).is_err() {
                return None;
            }
        }
    }
    (!open).then(|| joined(&list))
}

#[test]
fn every_changed_byte_is_judged_as_by_the_second_opinion() {
    let c = |first, payload: &[u8]| frame(Side::Client, first, payload);
    let samples = [
        [
            c(0x01, b"caf\xc3"),
            c(0x89, b"?"),
            c(0x80, b"\xa9"),
            c(0x82, b"\xff"),
            c(0x88, b"\x03\xe8ok"),
        ]
        .concat(),
        [c(0x82, &[b'x'; 130]), c(0x81, b"t")].concat(),
    ];
    let mut agreed = [0, 0];
    for good in samples {
        // The inside of the long payload is like its ends.
        let edges = (0..good.len()).filter(|at| *at < 60 || at + 20 > good.len());
        for at in edges {
            for byte in 0..=255 {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let (done, out) = run(Side::Client, &bytes, 1 + at % 5, &mut Pass);
                let got = done.ok().map(|()| joined(&frames(Side::Client, &out).unwrap()));
                assert_eq!(got, opinion(&bytes), "{}", bytes.escape_ascii());
                agreed[usize::from(got.is_some())] += 1;
                fuzz_websocket(&[&[at as u8 & !1][..], &bytes].concat());
            }
        }
    }
    assert!(agreed[0] > 1000 && agreed[1] > 1000, "{agreed:?}");
}

#[test]
fn a_close_frame_of_our_own() {
    assert_eq!(close(1008, "no", None), b"\x88\x04\x03\xf0no");
    assert_eq!(
        run(Side::Client, &close(1008, "no", Some([1, 2, 3, 4])), 2, &mut Pass).0,
        Ok(())
    );
    let long = close(1008, &"é".repeat(100), None);
    assert_eq!(long.len(), 2 + 2 + 122);
    assert_eq!(run(Side::Server, &long, 2, &mut Pass).0, Ok(()));
}
