//! The fuzz targets over random bytes, and over committed seeds, the transcripts and mutations of them, on every test run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
mod common;
use common::*;
use proptest::prelude::*;
use qila_meter::{Keep, fuzz_request, fuzz_response};

#[path = "../../../fuzz/mutate.rs"]
mod mutate;

const WORDS: &[&[u8]] = &[
    b"\"usage\":",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\\u005f",
    b"\\ud800",
    b"\n\n",
    b"\r",
    b"data: ",
    b"data: [DONE]\n\n",
    b"\"model\":\"n\",",
    b"\"stream_options\":",
    b"\"include_usage\":",
    b"\xff",
    b"\xef\xbb\xbf",
];

/// The transcripts as inputs of the target: the API, a cut, the bytes.
fn responses() -> Vec<Vec<u8>> {
    let nth = |name: &str| match name.split('.').next().unwrap() {
        "chat" => 0,
        "responses" => 1,
        "embeddings" => 2,
        "anthropic" => 3,
        _ => 4,
    };
    let with = |(n, (_, name, bytes)): (usize, &(_, &str, &[u8]))| {
        [&[nth(name) + 5 * (n as u8 % 3), 13][..], bytes].concat()
    };
    TRANSCRIPTS.iter().enumerate().map(with).collect()
}

#[test]
fn mutated_requests() {
    mutate::run("meter_ask", &[], WORDS, 4000, fuzz_request);
}

#[test]
fn mutated_responses() {
    mutate::run("meter_answer", &responses(), WORDS, 1500, fuzz_response);
}

#[test]
fn every_byte_of_every_transcript_changed() {
    for (api, _, bytes) in TRANSCRIPTS {
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() {
            let was = bytes[at];
            for to in [[was ^ 1, was ^ 0x80, b'\n', b'9'][at % 4], b'"'] {
                bytes[at] = to;
                let outcome = read(*api, 200, Keep::Hash, &[&bytes]);
                assert!(!outcome.free);
            }
            bytes[at] = was;
        }
    }
}

proptest! {
    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz_request(&data);
        fuzz_response(&data);
    }

    #[test]
    fn likely_pieces(first in any::<u8>(), cut in 1u8..9, parts in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"choices\"", "\"index\"", "\"delta\"", "\"content\"", "\"output\"", "\"item\"", "\"type\"", "\"usage\"",
        "\"candidates\"", "\"parts\"", "\"functionCall\"", "\"args\"", "\"input\"", "\"x\"", "1", "null", "data: ", "\n\n", "\"response\"",
        "\"stream\":true", "\"stream_options\":{", "\"include_usage\":false", "\"model\":\"m\"", "\"message\"", "\"tool_calls\"", "\"usageMetadata\"",
    ]), 0..40)) {
        let body = parts.concat();
        fuzz_response(&[&[first, cut][..], body.as_bytes()].concat());
        fuzz_request(&[&[first][..], body.as_bytes()].concat());
        fuzz_request(&[&[0][..], b"{\"model\":\"m\",\"stream\":true,", body.as_bytes(), b"}"].concat());
    }
}
