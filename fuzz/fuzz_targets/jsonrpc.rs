//! A body that passes is one of which a plain parser says the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::jsonrpc::fuzz_jsonrpc(data));
