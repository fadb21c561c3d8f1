//! Any bytes are an evidence log or findings.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_evidence::fuzz(data));
