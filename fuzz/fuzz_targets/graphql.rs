//! Any bytes are a GraphQL request or an error, and white space changes nothing.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qila_inspect::graphql::fuzz_graphql(data));
