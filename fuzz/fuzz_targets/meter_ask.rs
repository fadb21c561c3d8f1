//! Any body of a model's request is read or refused; asking for usage changes nothing else.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_meter::fuzz_request(data));
