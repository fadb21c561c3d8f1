//! AWS's own examples: the test suite of Signature Version 4, and those of the S3 API reference.
use super::*;

const SUITE: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const S3: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn keys(id: &str, secret: &str) -> Keys {
    Keys {
        id: id.into(),
        secret: secret.into(),
        session: None,
    }
}

/// The signature of exactly these headers.
fn suite(method: &str, path: &str, query: Option<&str>, extra: &[(&str, &[u8])]) -> String {
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("host", b"example.amazonaws.com"),
        ("x-amz-date", b"20150830T123600Z"),
    ];
    headers.extend(extra);
    let request = Request {
        method,
        path,
        query,
        headers: &headers,
        payload: Payload::Whole(b""),
    };
    let scope = Scope {
        region: "us-east-1",
        service: "service",
    };
    let keys = keys("AKIDEXAMPLE", SUITE);
    let text = authorization(&keys, scope, "20150830T123600Z", &request, &headers, EMPTY);
    text.rsplit_once("Signature=").unwrap().1.to_owned()
}

#[test]
fn the_test_suite() {
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    assert_eq!(suite("GET", "/", None, &[]), vanilla);
    assert_eq!(
        suite("POST", "/", None, &[]),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    );
    assert_eq!(
        suite("GET", "/", Some("Param2=value2&Param1=value1"), &[]),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
    );
    // The suite's paths with detours all mean the root.
    for path in ["/example/..", "/./", "//", "/example1/example2/../.."] {
        assert_eq!(suite("GET", path, None, &[]), vanilla, "{path}");
    }
}

fn s3(method: &str, path: &str, query: Option<&str>, extra: &[(&str, &[u8])], body: &[u8]) -> String {
    let mut headers: Vec<(&str, &[u8])> = vec![
        ("host", b"examplebucket.s3.amazonaws.com"),
        ("authorization", b"what the agent said"),
        ("x-amz-date", b"20010101T000000Z"),
    ];
    headers.extend(extra);
    let request = Request {
        method,
        path,
        query,
        headers: &headers,
        payload: Payload::Whole(body),
    };
    let scope = Scope {
        region: "us-east-1",
        service: "s3",
    };
    let set = sign(&keys("AKIAIOSFODNN7EXAMPLE", S3), scope, 1_369_353_600, &request).unwrap();
    let said = set.iter().find(|(name, _)| *name == "authorization").unwrap();
    said.1.rsplit_once("Signature=").unwrap().1.to_owned()
}

#[test]
fn the_examples_of_s3() {
    for (method, path, query, extra, body, signature) in [
        (
            "GET",
            "/test.txt",
            None,
            &[("range", &b"bytes=0-9"[..])][..],
            &b""[..],
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            None,
            &[
                ("date", b"Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", b"REDUCED_REDUNDANCY"),
            ],
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            Some("lifecycle"),
            &[],
            b"",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            Some("prefix=J&max-keys=2"),
            &[],
            b"",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        assert_eq!(s3(method, path, query, extra, body), signature, "{method} {path}");
    }
    // As typed or encoded, it is the same object.
    let encoded = s3("GET", "/a%20b%2Bc", None, &[], b"");
    assert_eq!(s3("GET", "/a b+c", None, &[], b""), encoded);
    assert_ne!(
        s3("GET", "/a//b", None, &[], b""),
        s3("GET", "/a/b", None, &[], b"")
    );
}

#[test]
fn a_session_has_its_token_signed() {
    let request = Request {
        method: "GET",
        path: "/",
        query: None,
        headers: &[("host", b"a.test"), ("x-amz-security-token", b"the agent's")],
        payload: Payload::Said(Sent::Unsigned),
    };
    let scope = Scope {
        region: "r",
        service: "s3",
    };
    let keys = Keys {
        session: Some("session".into()),
        ..keys("id", "secret")
    };
    let set = sign(&keys, scope, 0, &request).unwrap();
    let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
    assert_eq!(get("x-amz-security-token"), Some("session"));
    assert_eq!(get("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));
    assert!(
        get("authorization")
            .unwrap()
            .contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,")
    );
}

#[test]
fn what_an_agent_says_is_read() {
    let text = b"AWS4-HMAC-SHA256 Credential=placeholder/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let hash = "ab".repeat(32);
    for (said, expected) in [
        (None, Ok(None)),
        (Some("UNSIGNED-PAYLOAD"), Ok(Some(Sent::Unsigned))),
        (
            Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            Ok(Some(Sent::UnsignedTrailer)),
        ),
        (Some(hash.as_str()), Ok(Some(Sent::Hash([0xab; 32])))),
        (Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), Err(SignError::Pieces)),
        (
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            Err(SignError::Pieces),
        ),
        (Some(""), Err(SignError::Malformed)),
    ] {
        let read = Theirs::read(text, said.map(str::as_bytes));
        assert_eq!(read.as_ref().map(|t| t.sent).map_err(|e| *e), expected);
        assert!(read.is_err() || read.is_ok_and(|t| t.id == "placeholder"));
    }
    let plus = format!("+{}", "a".repeat(63));
    assert_eq!(
        Theirs::read(text, Some(plus.as_bytes())),
        Err(SignError::Malformed)
    );
    for bad in [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256 Credential=x",
        "AWS4-HMAC-SHA256 SignedHeaders=a",
    ] {
        assert_eq!(
            Theirs::read(bad.as_bytes(), None),
            Err(SignError::Malformed),
            "{bad}"
        );
    }
}
