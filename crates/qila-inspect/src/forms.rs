//! The spellings in which a secret may show up inside longer text.
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// One spelling of a secret.
pub(crate) struct Form {
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether a base64 character that follows also holds bits of the secret.
    pub after: bool,
}

impl Form {
    /// Bytes that a match may cover.
    pub fn reach(&self) -> usize {
        self.bytes.len() + usize::from(self.after)
    }

    /// Whether text that ends with `suffix` may go on to be this form.
    pub fn open(&self, suffix: &[u8]) -> bool {
        suffix.len() < self.reach() && self.bytes.starts_with(suffix)
    }
}

/// Whether the byte belongs to either base64 alphabet.
pub(crate) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Adds every form of `secret` that is not yet there.
pub(crate) fn collect(secret: &[u8], into: &mut Vec<Form>) {
    add(into, copy(secret), false);
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for before in 0..3 {
            base64(engine, secret, before, into);
        }
    }
    for names in HTML {
        add(into, html(secret, names), false);
    }
    for digits in [LOWER, UPPER] {
        add(into, escape(secret, digits, b"", |_| false), false);
        for keep in KEPT {
            for plus in [false, true] {
                let mut form = escape(secret, digits, b"%", |b| {
                    b.is_ascii_alphanumeric() || keep.contains(&b) || (plus && b == b' ')
                });
                if plus {
                    form.iter_mut().filter(|b| **b == b' ').for_each(|b| *b = b'+');
                }
                add(into, form, false);
            }
        }
        for lead in [&b"%"[..], b"\\u00", b"\\x"] {
            add(into, escape(secret, digits, lead, |_| false), false);
        }
        for (also, ascii) in JSON {
            add(into, json(secret, digits, also, *ascii), false);
        }
    }
}

/// The text of an HTML page or attribute.
fn html(secret: &[u8], names: &[(u8, &str)]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 6));
    for byte in secret {
        match names.iter().find(|(special, _)| special == byte) {
            Some((_, name)) => out.extend_from_slice(name.as_bytes()),
            None => out.push(*byte),
        }
    }
    out
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Bytes besides letters and digits that percent-encoders leave alone: RFC 3986 unreserved; with a path's slash; what
/// browsers leave in a component; what may stand in a path; what stands in a form; what browsers leave in a whole URI.
const KEPT: [&[u8]; 6] = [
    b"-._~",
    b"-._~/",
    b"-._~!'()*",
    b"-._~!$&'()*+,;=:@/",
    b"-._*",
    b"-._~!'()*;/?:@&=+$,#",
];

/// What JSON writers escape besides what they must, and whether they write non-ASCII as `\uXXXX`.
const JSON: &[(&[u8], bool)] = &[
    (b"", false),
    (b"", true),
    (b"/", false),
    (b"/", true),
    (b"<>&", false),
    (b"<>&", true),
    (b"<>&'", true),
    // Gson; then .NET, which writes a quote as `\u0022` too, but a token has none.
    (b"<>&'=", false),
    (b"<>&'+`", true),
];

/// What HTML writers make of the characters that they must escape: the least, Python's, Go's, mustache's.
const HTML: &[&[(u8, &str)]] = &[
    &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;")],
    &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;"), (b'"', "&quot;")],
    &[
        (b'&', "&amp;"),
        (b'<', "&lt;"),
        (b'>', "&gt;"),
        (b'"', "&quot;"),
        (b'\'', "&#39;"),
    ],
    &[
        (b'&', "&amp;"),
        (b'<', "&lt;"),
        (b'>', "&gt;"),
        (b'"', "&quot;"),
        (b'\'', "&#x27;"),
    ],
    &[
        (b'&', "&amp;"),
        (b'<', "&lt;"),
        (b'>', "&gt;"),
        (b'"', "&#34;"),
        (b'\'', "&#39;"),
    ],
    &[
        (b'&', "&amp;"),
        (b'<', "&lt;"),
        (b'>', "&gt;"),
        (b'"', "&quot;"),
        (b'\'', "&#39;"),
        (b'/', "&#x2F;"),
        (b'`', "&#x60;"),
        (b'=', "&#x3D;"),
    ],
];

fn copy(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.to_vec())
}

fn add(into: &mut Vec<Form>, bytes: Zeroizing<Vec<u8>>, after: bool) {
    if bytes.is_empty() {
        return;
    }
    match into.iter_mut().find(|f| f.bytes == bytes) {
        Some(form) => form.after |= after,
        None => into.push(Form { bytes, after }),
    }
}

/// The characters that `secret` alone decides, where `before` bytes (0 to 2) precede it in its group of three.
fn base64(engine: &GeneralPurpose, secret: &[u8], before: usize, into: &mut Vec<Form>) {
    let mut plain = Zeroizing::new(Vec::with_capacity(before + secret.len()));
    plain.resize(before, 0);
    plain.extend_from_slice(secret);
    let mut text = Zeroizing::new(vec![0; plain.len() * 4 / 3 + 4]);
    let Ok(len) = engine.encode_slice(plain.as_slice(), &mut text) else {
        return; // The room above is always enough.
    };
    // The character on either edge mixes bits of the secret with bits of its neighbour.
    let from = [0, 2, 3].get(before).copied().unwrap_or(0);
    let after = !(plain.len() * 8).is_multiple_of(6);
    if let Some(core) = text.get(from..len - usize::from(after)) {
        add(into, copy(core), after);
    }
}

/// Writes each byte that `keep` does not keep as `lead` and two digits.
fn escape(secret: &[u8], digits: &[u8; 16], lead: &[u8], keep: impl Fn(u8) -> bool) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 3));
    for &byte in secret {
        if keep(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(lead);
            out.extend([byte >> 4, byte & 15].map(|n| digit(digits, n)));
        }
    }
    out
}

fn digit(digits: &[u8; 16], n: u8) -> u8 {
    digits.get(usize::from(n)).copied().unwrap_or(b'0')
}

/// The inside of a JSON string. Bytes that are not UTF-8 stay as they are.
fn json(secret: &[u8], digits: &[u8; 16], also: &[u8], ascii: bool) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(secret.len() * 6));
    for chunk in secret.utf8_chunks() {
        for c in chunk.valid().chars() {
            let short = match c {
                '"' => b'"',
                '\\' => b'\\',
                '\n' => b'n',
                '\r' => b'r',
                '\t' => b't',
                '\u{8}' => b'b',
                '\u{c}' => b'f',
                '/' if also.contains(&b'/') => b'/',
                _ => 0,
            };
            let listed = u8::try_from(c).is_ok_and(|b| b.is_ascii() && also.contains(&b));
            if short != 0 {
                out.extend([b'\\', short]);
            } else if c < ' ' || listed || (ascii && !c.is_ascii()) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend(b"\\u");
                    let [high, low] = unit.to_be_bytes();
                    out.extend([high >> 4, high & 15, low >> 4, low & 15].map(|n| digit(digits, n)));
                }
            } else {
                out.extend(c.encode_utf8(&mut [0; 4]).bytes());
            }
        }
        out.extend(chunk.invalid());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        collect(secret, &mut all);
        all.iter().map(|f| f.bytes.to_vec()).collect()
    }

    #[test]
    fn every_spelling_is_there() {
        let all = forms(b"p/w+\"d?~<\xc3\xa9");
        for text in [
            "p/w+\"d?~<é",
            "%70%2f%77%2b%22%64%3f%7e%3c%c3%a9",
            "p%2Fw%2B%22d%3F~%3C%C3%A9",
            "p%2fw%2b%22d%3f~%3c%c3%a9",
            "p/w%2B%22d%3F~%3C%C3%A9",
            "702f772b22643f7e3cc3a9",
            "702F772B22643F7E3CC3A9",
            "p/w+\\\"d?~<é",
            "p/w+\\\"d?~<\\u00e9",
            "p\\/w+\\\"d?~<é",
            "p/w+\\\"d?~\\u003cé",
            "p/w+\\\"d?~\\u003C\\u00E9",
            "\\u0070\\u002f\\u0077\\u002b\\u0022\\u0064\\u003f\\u007e\\u003c\\u00c3\\u00a9",
            "\\x70\\x2F\\x77\\x2B\\x22\\x64\\x3F\\x7E\\x3C\\xC3\\xA9",
        ] {
            assert!(all.iter().any(|f| f == text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn base64_cores_are_in_every_embedding() {
        for len in 8..14 {
            let secret: Vec<u8> = (0..len).map(|i| b'a' + i * 5 % 26).collect();
            let all = forms(&secret);
            for before in 0..6 {
                for behind in 0..4 {
                    let plain = [vec![b'x'; before], secret.clone(), vec![b'~'; behind]].concat();
                    for text in [STANDARD_NO_PAD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)] {
                        let held = |f: &Vec<u8>| text.as_bytes().windows(f.len()).any(|w| w == f);
                        assert!(all.iter().any(held), "{len} {before} {behind}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_ordinary_key_has_few_forms() {
        assert!(forms(b"sk-proj-0123456789abcdefABCDEF").len() <= 16);
    }
}
