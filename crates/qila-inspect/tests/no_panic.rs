//! The fuzz targets over random bytes, and over committed seeds and mutations of them, on every test run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use proptest::prelude::*;
use qila_inspect::{
    content_coding, dns, events, graphql, grpc, hello, jsonrpc, mask, placeholder, request, websocket,
};

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

#[test]
fn mutated_content_codings() {
    let words: &[&[u8]] = &[
        b"\x1f\x8b\x08",
        b"\x28\xb5\x2f\xfd",
        b"\x78\x9c",
        b"\0\0\xff\xff",
        b"\x03",
    ];
    mutate::run(
        "content_coding",
        &[],
        words,
        3000,
        content_coding::fuzz_content_coding,
    );
}

#[test]
fn mutated_events() {
    let words: &[&[u8]] = &[
        b"\n\n",
        b"\r",
        b"\r\n",
        b"data:",
        b"event: ",
        b"id",
        b"retry: 1",
        b":",
        b"\xef\xbb\xbf",
    ];
    mutate::run("events", &[], words, 4000, events::fuzz_events);
}

#[test]
fn mutated_grpc() {
    let words: &[&[u8]] = &[b"\0\0\0\0\x01", b"\x01\0\0\0\0", b"\xff\xff\xff\xff", b"/", b"."];
    mutate::run("grpc", &[], words, 4000, grpc::fuzz_grpc);
}

#[test]
fn mutated_json_rpc() {
    let words: &[&[u8]] = &[
        b"\"method\":\"tools/call\"",
        b"\"Method\":",
        b"\\u006d",
        b"\\u0000",
        b"\"id\":null",
        b",",
        b"[",
        b"{\"a\":1,\"a\":2}",
        b"1e999",
        b"\ndata: ",
        b"\n\n",
    ];
    mutate::run("jsonrpc", &[], words, 4000, jsonrpc::fuzz_jsonrpc);
}

#[test]
fn mutated_graphql() {
    let words: &[&[u8]] = &[
        b"{",
        b"}",
        b"...",
        b"...F",
        b" on ",
        b"fragment F on T {a}",
        b"mutation",
        b"\"\"\"",
        b"\\\"",
        b"#",
        b"\r",
        b"$a",
        b"\"query\":",
        b"\"id\":1",
        b"&query=",
    ];
    mutate::run("graphql", &[], words, 4000, graphql::fuzz_graphql);
}

#[test]
fn mutated_web_sockets() {
    let words: &[&[u8]] = &[
        b"\x81",
        b"\x01",
        b"\x80\x80",
        b"\x88\x02\x03\xe8",
        b"\x7e",
        b"\xff",
        b"\xc3",
        b"\0\x01",
    ];
    mutate::run("websocket", &[], words, 4000, websocket::fuzz_websocket);
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
        for choice in [0, 1, 2, 3, 6] {
            content_coding::fuzz_content_coding(&[&[choice][..], &data].concat());
        }
        events::fuzz_events(&data);
        graphql::fuzz_graphql(&data);
        grpc::fuzz_grpc(&data);
        jsonrpc::fuzz_jsonrpc(&data);
        websocket::fuzz_websocket(&data);
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

    #[test]
    fn documents_of_likely_pieces(parts in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "(", ")", "[", "]", ":", "...", "...F", "on T", "fragment F on T", "query", "mutation", "a", "b", "$v", "@d", "1", "\"s\"",
        "\"\"\"b\"\"\"", "#c\n", "=", "!", " ",
    ]), 0..24)) {
        graphql::fuzz_graphql(parts.concat().as_bytes());
        graphql::fuzz_graphql(parts.join(" ").as_bytes());
    }

    #[test]
    fn frames_of_likely_pieces(side in 0u8..8, parts in prop::collection::vec(prop::sample::select(vec![
        &b"\x81\x01a"[..], b"\x01\x01\xc3", b"\x00\x00", b"\x80\x01\xa9", b"\x02\x03xyz", b"\x89\x00", b"\x8a\x01b", b"\x88\x00",
        b"\x81\x81\x01\x02\x03\x04a", b"\x01\x82\x00\x00\x00\x00\xe2\x82", b"\x80\x81\x00\x00\x00\x00\xac", b"\x89\x80abcd",
    ]), 0..12)) {
        websocket::fuzz_websocket(&[&[side][..], &parts.concat()].concat());
    }

    #[test]
    fn events_of_likely_pieces(cut in 1u8..9, parts in prop::collection::vec(prop::sample::select(vec![
        "data", "data:", "data: x", "event: e", "id: 1", "id", "retry: 5", ":", ": c", "\n", "\r", "\r\n", "\n\n", "\u{feff}", " ", "\0",
    ]), 0..24)) {
        events::fuzz_events(&[&[cut][..], parts.concat().as_bytes()].concat());
    }
}
