//! Any cutting of a stream gives the same messages.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::grpc::fuzz_grpc(data));
