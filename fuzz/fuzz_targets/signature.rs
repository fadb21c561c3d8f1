//! Any signature of AWS's on any target is read or refused, and signed anew.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_lease::fuzz_signature(data));
