//! Whatever a provider of credentials answers, and whatever stands in a journal of leases, is read or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_lease::fuzz(data));
