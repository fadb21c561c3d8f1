//! A head that passes as bytes parses as HTTP.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::request::fuzz_request(data));
