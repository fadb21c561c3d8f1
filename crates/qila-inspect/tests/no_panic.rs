//! The fuzz targets over random bytes, on every test run.
use proptest::prelude::*;
use qila_inspect::{dns, hello, mask, placeholder, request};

proptest! {
    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..400)) {
        hello::fuzz_hello(&data);
        hello::fuzz_hello(&[&[22, 3, 1, 1, 0, 1, 0, 0][..], &data].concat());
        dns::fuzz_dns(&data);
        dns::fuzz_dns(&[&[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &data].concat());
        mask::fuzz_mask(&data);
        placeholder::fuzz_placeholder(&data);
        request::fuzz_request(&data);
        request::fuzz_request(&[b"GET / HTTP/1.1\r\nHost: a\r\n", &data[..], b"\r\n\r\n"].concat());
    }

    #[test]
    fn masks_of_short_alphabets(data in prop::collection::vec(prop::sample::select(b"ab\x01\x09\x0a".to_vec()), 0..300)) {
        mask::fuzz_mask(&data);
        placeholder::fuzz_placeholder(&data);
    }

    #[test]
    fn heads_of_likely_pieces(parts in prop::collection::vec(prop::sample::select(vec![
        "GET ", "/ ", "HTTP/1.1", "HTTP/1.0", "\r\n", "\n", "\r", " ", "\t", ":", "Host: a.org", "Host: b.org",
        "Content-Length: 5", "Transfer-Encoding: chunked", "http://a.org/", "a.org:443", "Connection: ", "upgrade", "CONNECT ", "\0",
    ]), 0..14)) {
        request::fuzz_request(parts.concat().as_bytes());
    }
}
