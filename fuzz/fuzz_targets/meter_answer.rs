//! Any response of a model is read, cut anywhere, to the same outcome.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_meter::fuzz_response(data));
