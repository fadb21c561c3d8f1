//! Any cutting of a stream gives the same messages, and what is written reads as what was read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::websocket::fuzz_websocket(data));
