//! The one form of a request that both ends hash.
use super::Request;
use std::collections::BTreeMap;

/// The canonical request, and the names of the headers in it.
pub(super) fn request(
    request: &Request<'_>,
    headers: &[(&str, &[u8])],
    payload: &str,
    service: &str,
) -> (Vec<u8>, String) {
    let mut sorted: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, value) in headers {
        sorted.entry(name).or_default().push(trimmed(value));
    }
    let names = sorted.keys().copied().collect::<Vec<_>>().join(";");
    let mut out = Vec::new();
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    put(request.method.as_bytes());
    put(b"\n");
    put(path(request.path, service).as_bytes());
    put(b"\n");
    put(query(request.query.unwrap_or_default()).as_bytes());
    put(b"\n");
    for (name, values) in &sorted {
        put(name.as_bytes());
        put(b":");
        put(&values.join(&b","[..]));
        put(b"\n");
    }
    put(b"\n");
    put(names.as_bytes());
    put(b"\n");
    put(payload.as_bytes());
    (out, names)
}

/// Without space at its ends, and with one where there were several.
fn trimmed(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for byte in value.trim_ascii() {
        if *byte != b' ' || out.last() != Some(&b' ') {
            out.push(*byte);
        }
    }
    out
}

/// S3 signs a path as it is, encoded once; all others the encoding of what is sent, without detours.
fn path(path: &str, service: &str) -> String {
    let path = if path.is_empty() { "/" } else { path };
    if matches!(service, "s3" | "s3-outposts" | "s3-object-lambda" | "s3express") {
        return encode(&decode(path), b"/");
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let last = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let tail = if last && !parts.is_empty() { "/" } else { "" };
    // What is sent is encoded once already: its percent signs are encoded again.
    encode(format!("/{}{tail}", parts.join("/")).as_bytes(), b"/")
}

/// Sorted by name, then by value; a plus is a plus.
fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encode(&decode(name), b""), encode(&decode(value), b""))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Percent-encodes all but RFC 3986's unreserved characters and those that are kept.
fn encode(bytes: &[u8], keep: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || keep.contains(byte) {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// What percent-encoding stands for; what is none stays as it is.
fn decode(text: &str) -> Vec<u8> {
    let digit = |b: Option<&u8>| {
        b.and_then(|b| char::from(*b).to_digit(16))
            .and_then(|n| u8::try_from(n).ok())
    };
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}
