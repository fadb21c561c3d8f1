//! The fuzz target over real logs and mutations of them, on every test run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
mod common;
use common::*;

#[path = "../../../fuzz/mutate.rs"]
mod mutate;

#[test]
fn any_bytes_are_a_log_or_findings() {
    let place = Place::new();
    place.open().append(&[event(0), event(1)]).unwrap();
    place.open().append(&[event(2)]).unwrap();
    let seeds = [
        place.bytes(),
        std::fs::read(place.file("head")).unwrap(),
        std::fs::read(place.file("key")).unwrap(),
    ];
    let words: &[&[u8]] = &[
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
        b"\n\n",
        "\u{2014} ".as_bytes(),
        b"0\n",
    ];
    mutate::run("evidence", &seeds, words, 1000, qila_evidence::fuzz);
}
