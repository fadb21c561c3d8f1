//! Any bytes are a hello, its beginning, or an error that more bytes do not mend.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::hello::fuzz_hello(data));
