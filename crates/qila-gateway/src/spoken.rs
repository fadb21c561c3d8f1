//! What a connection speaks, by its first bytes.

/// Longest first line of a cleartext request.
const MAX_LINE: usize = 16 * 1024;

/// What the first bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Tls,
    Http,
    /// HTTP/2 without TLS, as who knows beforehand that the server speaks it.
    Http2,
    Other,
    Nothing,
}

/// What is spoken, as soon as it can be known.
pub(crate) fn spoken(first: &[u8]) -> Option<Speaks> {
    let start = first
        .iter()
        .position(|b| !matches!(b, b'\r' | b'\n' | b' ' | b'\t'));
    let Some(start) = start else {
        return if first.len() > 64 {
            Some(Speaks::Other)
        } else {
            None
        };
    };
    let text = first.get(start..).unwrap_or(&[]);
    match text.first() {
        Some(0x16) if start == 0 => return Some(Speaks::Tls),
        Some(b) if b.is_ascii_graphic() => {}
        _ => return Some(Speaks::Other),
    }
    let end = text.iter().position(|b| *b == b'\n');
    let Some(line) = end.and_then(|e| text.get(..e)) else {
        // A line that may still become a request's first, or never will.
        let binary = text
            .iter()
            .any(|b| !(b.is_ascii_graphic() || matches!(b, b' ' | b'\t' | b'\r')));
        return (binary || text.len() > MAX_LINE).then_some(Speaks::Other);
    };
    if start == 0 && line == b"PRI * HTTP/2.0\r" {
        return Some(Speaks::Http2);
    }
    let line = String::from_utf8_lossy(line).to_ascii_uppercase();
    let request = line
        .split_ascii_whitespace()
        .next_back()
        .is_some_and(|w| w.starts_with("HTTP/"));
    Some(if request { Speaks::Http } else { Speaks::Other })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_is_spoken() {
        for (bytes, expected) in [
            (&b"\x16\x03\x01"[..], Some(Speaks::Tls)),
            (b"GET / HTTP/1.1\r\n", Some(Speaks::Http)),
            (b"\r\n\n get / http/1.0\n", Some(Speaks::Http)),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Some(Speaks::Http2)),
            (b"\r\nPRI * HTTP/2.0\r\n", Some(Speaks::Http)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some(Speaks::Other)),
            (b"EHLO me\r\n", Some(Speaks::Other)),
            (b"GET /", None),
            (b"", None),
            (b"\x00\x00", Some(Speaks::Other)),
            (b"GET \x80", Some(Speaks::Other)),
        ] {
            assert_eq!(spoken(bytes), expected, "{bytes:?}");
        }
        assert_eq!(spoken(&vec![b'A'; MAX_LINE + 1]), Some(Speaks::Other));
    }
}
