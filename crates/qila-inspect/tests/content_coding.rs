//! Coded bodies: what real encoders write, bombs, and what two decoders read differently.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use flate2::Compression;
use http::HeaderMap;
use qila_inspect::content_coding::*;
use std::io::Write;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
const LIMIT: u64 = 1 << 20;

fn encode(coding: Coding, text: &[u8]) -> Vec<u8> {
    let level = Compression::best();
    match coding {
        Coding::Gzip => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), level);
            to.write_all(text).unwrap();
            to.finish().unwrap()
        }
        Coding::Deflate => {
            let mut to = flate2::write::ZlibEncoder::new(Vec::new(), level);
            to.write_all(text).unwrap();
            to.finish().unwrap()
        }
        Coding::Brotli => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 9, 22)
                .write_all(text)
                .unwrap();
            out
        }
        Coding::Zstd => {
            let mut out = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
            let mut to = zstd_safe::CCtx::create();
            to.set_parameter(zstd_safe::CParameter::ChecksumFlag(true))
                .unwrap();
            to.compress2(&mut out, text).unwrap();
            out
        }
    }
}

/// A text that is neither random nor of one letter.
fn text(len: usize) -> Vec<u8> {
    let mut state = 7u32;
    let mut words = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ["query ", "name: ", "{\"a\": ", "7193, ", "ü", "\n"][(state >> 20) as usize % 6]
    };
    let mut out = Vec::new();
    while out.len() < len {
        out.extend_from_slice(words().as_bytes());
    }
    out.truncate(len);
    out
}

fn by(codings: &[Coding], body: &[u8], step: usize) -> Result<Vec<u8>, CodingError> {
    let (mut decoder, mut out) = (Decoder::new(codings, LIMIT)?, Vec::new());
    for piece in body.chunks(step) {
        decoder.push(piece, &mut out)?;
    }
    decoder.finish().map(|()| out)
}

#[test]
fn every_coding_and_pair_by_every_cut() {
    for len in [0, 1, 300, 70_000] {
        let text = text(len);
        for first in ALL {
            let once = encode(first, &text);
            for step in [1, 2, 3, 7, 1000, 1 << 20] {
                assert_eq!(
                    by(&[first], &once, step).as_ref(),
                    Ok(&text),
                    "{first:?} {len} by {step}"
                );
            }
            for second in ALL {
                let twice = encode(second, &once);
                for step in [1, 5, 4096, 1 << 20] {
                    assert_eq!(
                        by(&[first, second], &twice, step).as_ref(),
                        Ok(&text),
                        "{first:?} {second:?}"
                    );
                }
            }
        }
    }
    assert_eq!(decode(&[], b"as it is", LIMIT).unwrap(), b"as it is");
    assert_eq!(decode(&[], b"as it is", 7), Err(CodingError::Long(7)));
}

#[test]
fn bombs_are_errors_and_cost_little() {
    let zeros = vec![0; 8 << 20];
    for coding in ALL {
        let bomb = encode(coding, &zeros);
        assert!(bomb.len() < 20_000);
        let mut decoder = Decoder::new(&[coding], 1 << 30).unwrap();
        let mut out = Vec::new();
        assert_eq!(
            decoder.push(&bomb, &mut out),
            Err(CodingError::Ratio),
            "{coding:?}"
        );
        assert!(
            out.len() as u64 <= FREE_OUTPUT.max(MAX_RATIO * bomb.len() as u64),
            "{coding:?}"
        );
        assert_eq!(
            decoder.push(b"", &mut out),
            Err(CodingError::Ratio),
            "it stays with it"
        );
        // Under two codings the first output is the bomb already.
        let twice = encode(coding, &encode(coding, &zeros));
        assert_eq!(
            decode(&[coding, coding], &twice, 1 << 30),
            Err(CodingError::Ratio)
        );
        // By length, ratio aside.
        let long = encode(coding, &text(100_000));
        assert_eq!(decode(&[coding], &long, 99_999), Err(CodingError::Long(99_999)));
        assert!(decode(&[coding], &long, 100_000).is_ok());
    }
}

#[test]
fn windows_are_bounded() {
    // A frame that asks for 16 MiB, another for 8 MiB; both with one raw block of one byte.
    let frame = |exponent: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 9, 0, 0][..], b"x"].concat();
    assert_eq!(decode(&[Coding::Zstd], &frame(13), LIMIT).unwrap(), b"x");
    assert_eq!(
        decode(&[Coding::Zstd], &frame(14), LIMIT),
        Err(CodingError::Invalid("zstd"))
    );
    // A br stream with a large window, which is no part of the HTTP coding.
    assert_eq!(
        decode(&[Coding::Brotli], &[0x11, 0x1e, 3], LIMIT),
        Err(CodingError::Invalid("br"))
    );
}

#[test]
fn what_decoders_read_differently_is_refused() {
    let name = |coding| match coding {
        Coding::Gzip => "gzip",
        Coding::Deflate => "deflate",
        Coding::Brotli => "br",
        Coding::Zstd => "zstd",
    };
    for coding in ALL {
        let good = encode(coding, b"{\"a\": 1}");
        let twice = [&good[..], &good].concat();
        let behind = [&good[..], b"\0"].concat();
        for bad in [twice, behind] {
            for step in [1, 3, 1000] {
                assert_eq!(
                    by(&[coding], &bad, step),
                    Err(CodingError::Trailing(name(coding)))
                );
            }
        }
        for end in 0..good.len() {
            assert_eq!(
                by(&[coding], &good[..end], 4),
                Err(CodingError::Short(name(coding))),
                "{end}"
            );
        }
    }
    // Without the wrapper of zlib.
    let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    raw.write_all(b"{\"a\": 1}").unwrap();
    assert!(decode(&[Coding::Deflate], &raw.finish().unwrap(), LIMIT).is_err());
    // A frame to be skipped in front of the frame.
    let skipped = [&b"\x50\x2a\x4d\x18\x01\0\0\0x"[..], &encode(Coding::Zstd, b"a")].concat();
    assert_eq!(
        decode(&[Coding::Zstd], &skipped, LIMIT),
        Err(CodingError::Invalid("zstd"))
    );
    // A dictionary.
    assert!(decode(&[Coding::Deflate], b"\x78\xbb\0\0\0\x01\x03\0\0\0\0\x01", LIMIT).is_err());
}

#[test]
fn header_fields_of_gzip() {
    let good = encode(Coding::Gzip, b"hello");
    let with = |flags: u8, fields: &[u8]| [&good[..3], &[flags], &good[4..10], fields, &good[10..]].concat();
    for (flags, fields) in [
        (0, &b""[..]),
        (1, b""),
        (2, b"\xff\xff"),
        (4, b"\x03\0abc"),
        (4, b"\0\0"),
        (8, b"name\0"),
        (16, b"\0"),
        (31, b"\x01\0xname\0comment\0\x12\x34"),
    ] {
        for step in [1, 3, 1000] {
            assert_eq!(
                by(&[Coding::Gzip], &with(flags, fields), step).as_deref(),
                Ok(&b"hello"[..]),
                "{flags}"
            );
        }
    }
    assert!(decode(&[Coding::Gzip], &with(32, b""), LIMIT).is_err());
    let long = [&vec![b'n'; 5000][..], b"\0"].concat();
    assert!(decode(&[Coding::Gzip], &with(8, &long), LIMIT).is_err());
}

#[test]
fn a_changed_byte_never_gives_another_text_under_a_checksum() {
    let text = text(400);
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
        let good = encode(coding, &text);
        for at in 0..good.len() {
            for flip in [1, 0x10, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                if let Ok(out) = decode(&[coding], &bad, LIMIT) {
                    assert!(out == text, "{coding:?} {at} {flip}");
                }
            }
        }
    }
}

#[test]
fn fields() {
    let parse = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("content-encoding", value.parse().unwrap());
        }
        codings(&headers)
    };
    use Coding::*;
    for (values, want) in [
        (&[][..], Ok(vec![])),
        (&["gzip"], Ok(vec![Gzip])),
        (&["X-GZIP"], Ok(vec![Gzip])),
        (&["identity"], Ok(vec![])),
        (&["gzip,\tbr"], Ok(vec![Gzip, Brotli])),
        (&["deflate", "zstd"], Ok(vec![Deflate, Zstd])),
        (&["gzip, gzip, gzip"], Err(CodingError::Many)),
        (&["gzip", "br, zstd"], Err(CodingError::Many)),
        (&["compress"], Err(CodingError::Unknown)),
        (&[""], Err(CodingError::Unknown)),
        (&["gzip,"], Err(CodingError::Unknown)),
        (&["gzip;q=1"], Err(CodingError::Unknown)),
        (&["dcb"], Err(CodingError::Unknown)),
    ] {
        assert_eq!(parse(values), want, "{values:?}");
    }
    assert!(matches!(
        Decoder::new(&[Gzip, Gzip, Gzip], 1),
        Err(CodingError::Many)
    ));
}

#[test]
fn pairs_of_codings_as_the_fuzzer_tries_them() {
    for (first, coding) in ALL.iter().enumerate() {
        for (second, other) in ALL.iter().enumerate() {
            let body = encode(*other, &encode(*coding, &text(300)));
            let choice = u8::try_from(first + 5 * second).unwrap();
            fuzz_content_coding(&[&[choice][..], &body].concat());
            assert_eq!(decode(&[*coding, *other], &body, LIMIT), Ok(text(300)));
        }
    }
}
