//! Any cutting of a body finds what the whole finds.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::placeholder::fuzz_placeholder(data));
