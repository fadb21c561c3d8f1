//! Any bytes are a policy or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_policy::fuzz_parse(data));
