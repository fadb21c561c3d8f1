//! Whatever an agent sends on a connection of HTTP/1.1 or HTTP/2 is answered or ended.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_gateway::fuzz_http(data));
