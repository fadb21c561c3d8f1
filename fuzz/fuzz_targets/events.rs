//! Any cutting of a stream gives the same events, and what is written reads as what was read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::events::fuzz_events(data));
