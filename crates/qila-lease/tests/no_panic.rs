//! Hostile bytes: what providers answer, what stands in a journal, what an agent signed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failure here is the test's"
)]
#[path = "../../../fuzz/mutate.rs"]
mod mutate;

const WORDS: &[&[u8]] = &[
    b"\"lease_id\":",
    b"\"lease_duration\":",
    b"\"data\":",
    b"\"token\":",
    b"\"token_type\":",
    b"\"expires_at\":",
    b"\"errors\":",
    b"18446744073709551615",
    b"9999-12-31T23:59:60Z",
    b"\"minted\":",
];

const SIGNED: &[&[u8]] = &[
    b"Credential=",
    b"/",
    b"%",
    b"%2",
    b"..",
    b"?",
    b"&",
    b"=",
    b"+",
    b"STREAMING-",
];

#[test]
fn answers_and_journals_are_read_or_refused() {
    mutate::run("lease", &[], WORDS, 4000, qila_lease::fuzz);
}

#[test]
fn signatures_are_read_or_refused() {
    mutate::run("signature", &[], SIGNED, 4000, qila_lease::fuzz_signature);
}
