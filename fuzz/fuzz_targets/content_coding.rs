//! Any bytes under any coding are a body within its bounds, or an error, however they are cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::content_coding::fuzz_content_coding(data));
