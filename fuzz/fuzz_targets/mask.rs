//! Any cutting of a body is masked the same, and no secret survives.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::mask::fuzz_mask(data));
