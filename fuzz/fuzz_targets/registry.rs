//! Any bytes are a reference, a challenge, a manifest or a configuration, or an error: no panic, and no name that is more than one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_image::fuzz_registry(data));
