//! Any packet is one question or an error that knows its answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::dns::fuzz_dns(data));
