//! The fuzz targets over random bytes, and over committed seeds and mutations of them, on every test run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use proptest::prelude::*;
use qila_inspect::{dns, hello, mask, placeholder, request};

#[path = "../../../fuzz/mutate.rs"]
mod mutate;

#[test]
fn mutated_hellos() {
    let words: &[&[u8]] = &[
        b"\x16\x03\x01",
        b"\0\0",
        b"\xff\xff",
        b"\xfe\x0d",
        b"\0\x10",
        b"a.example",
    ];
    mutate::run("hello", &[], words, 4000, hello::fuzz_hello);
}

#[test]
fn mutated_dns() {
    let words: &[&[u8]] = &[b"\xc0\x0c", b"\x3f", b"\0\0\x29", b"\0\x01\0\x01", b"\x03a.b"];
    mutate::run("dns", &[], words, 4000, dns::fuzz_dns);
}

#[test]
fn mutated_heads() {
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"\r\n ",
        b"\0",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"transfer_encoding: chunked\r\n",
        b"Host: b.org\r\n",
        b"HTTP/1.0",
        b"http://b.org",
        b"@",
        b"Connection: host\r\n",
    ];
    mutate::run("request", &[], words, 3000, request::fuzz_request);
}

#[test]
fn mutated_masks_and_placeholders() {
    let words: &[&[u8]] = &[b"*", b"%2F", b"\\u003d", b"=", b"c2st", b"sk-live/"];
    mutate::run("mask", &[], words, 1500, mask::fuzz_mask);
    mutate::run("placeholder", &[], words, 1500, placeholder::fuzz_placeholder);
}

proptest! {
    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..400)) {
        hello::fuzz_hello(&data);
        hello::fuzz_hello(&[&[22, 3, 1, 1, 0, 1, 0, 0][..], &data].concat());
        dns::fuzz_dns(&data);
        dns::fuzz_dns(&[&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &data].concat());
        mask::fuzz_mask(&data);
        placeholder::fuzz_placeholder(&data);
        request::fuzz_request(&data);
        request::fuzz_request(&[b"GET / HTTP/1.1\r\nHost: a\r\n", &data[..], b"\r\n\r\n"].concat());
    }

    #[test]
    fn masks_of_short_alphabets(data in prop::collection::vec(prop::sample::select(b"ab\x01\x09\x0a".to_vec()), 0..300)) {
        mask::fuzz_mask(&data);
        placeholder::fuzz_placeholder(&data);
    }

    #[test]
    fn heads_of_likely_pieces(parts in prop::collection::vec(prop::sample::select(vec![
        "GET ", "/ ", "HTTP/1.1", "HTTP/1.0", "\r\n", "\n", "\r", " ", "\t", ":", "Host: a.org", "Host: b.org",
        "Content-Length: 5", "Transfer-Encoding: chunked", "http://a.org/", "a.org:443", "Connection: ", "upgrade", "CONNECT ", "\0",
    ]), 0..14)) {
        request::fuzz_request(parts.concat().as_bytes());
    }
}
