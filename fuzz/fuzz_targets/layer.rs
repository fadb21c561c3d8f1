//! Any bytes are a layer's archive, or an error: no panic, no path over its bound.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_image::fuzz_tar(data));
