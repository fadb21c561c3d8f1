//! Any packet is a guest message or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_wire::fuzz(data));
