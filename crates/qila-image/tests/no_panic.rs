//! The fuzz target over random bytes, and over committed seeds and mutations of them, on every test run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use proptest::prelude::*;
use qila_image::{fuzz_registry, fuzz_tar};

mod common;
#[path = "../../../fuzz/mutate.rs"]
mod mutate;

/// Puts the sum of every block right, so that more than the sum is tried.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for block in out.chunks_exact_mut(512) {
        common::seal(block.try_into().unwrap());
    }
    out
}

#[test]
fn mutated_layers() {
    let words: &[&[u8]] = &[
        b"ustar\0",
        b"ustar  \0",
        b"../",
        b".wh.",
        b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"77777777777",
        b"13 path=../x\n",
        b"16 size=1844674407370955161\n",
        b"99999999999 path=",
        b"L",
        b"x",
    ];
    mutate::run("layer", &[], words, 3000, |bytes| {
        fuzz_tar(bytes);
        fuzz_tar(&sealed(bytes));
    });
}

#[test]
fn mutated_registries() {
    let words: &[&[u8]] = &[
        b"sha256:",
        b"@sha256:",
        b"/../",
        b"\"size\":18446744073709551616",
        b"\"digest\":\"sha256:../../x\"",
        b"Bearer realm=\"",
        b",service=\"",
        b"\\u0000",
        b"[[[[[[[[[[[[[[[[",
        b"null",
        b":latest",
        b"xn--",
    ];
    mutate::run("registry", &[], words, 5000, fuzz_registry);
}

proptest! {
    #[test]
    fn any_reference(text in "[a-zA-Z0-9.:/@_%\\[\\] -]{0,60}") {
        fuzz_registry(text.as_bytes());
    }

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..2000)) {
        fuzz_tar(&data);
        fuzz_tar(&sealed(&data));
    }

    #[test]
    fn any_extended_header(data in prop::collection::vec(prop::sample::select(b"0123456789 =\npathsizelnk/.\0".to_vec()), 0..500)) {
        let bytes = common::tar(&[(b"x", b'x', b"", 0o644, &data), (b"f", b'0', b"", 0o644, b"f")]);
        fuzz_tar(&bytes);
    }
}
