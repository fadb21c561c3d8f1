//! Whatever comes over the socket between a gateway and its launcher is read or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_gateway::fuzz_link(data));
