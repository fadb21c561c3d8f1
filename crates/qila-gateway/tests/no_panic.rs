//! The fuzz targets over committed seeds and mutations of them, on every test run.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a failure here is the test's"
)]
#[path = "../../../fuzz/mutate.rs"]
mod mutate;

const WORDS: &[&[u8]] = &[
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Upgrade: websocket\r\n",
    b"\r\n\r\n",
    b"\0\0\0\x04\0\0\0\0\0",
    b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
    b"\0\0\0\0\x01\0\0\0\x01",
    b"\0\x07:method\x04POST",
    b"\0\x05:path\x01/",
    b"\xff\xff\xff\xff",
    b"%2e%2e/",
    b"qila0placeholder0000102030405060708090a0b0c0d0e0f10111213",
];

#[test]
fn connections_are_answered_or_ended() {
    mutate::run("http", &[], WORDS, 1500, qila_gateway::fuzz_http);
}

#[test]
fn what_the_launcher_and_the_gateway_say_is_read_or_refused() {
    mutate::run(
        "link",
        &[],
        &[b"\"wait\":true", b"{", b"\"seq\":"],
        4000,
        qila_gateway::fuzz_link,
    );
}
