//! Path patterns.
use qila_policy::model::PathGlob;
use std::borrow::Cow;

/// Whether a path is in plain form: starts with `/`; no `..`, no backslash, no control byte, none of these and no slash in
/// percent-encoding, not even encoded twice.
pub fn well_formed(path: &str) -> bool {
    let mut text = path.to_owned();
    // Each round takes one layer of encoding off; what still changes after three is not meant well.
    for _ in 0..3 {
        if !plain(&text) {
            return false;
        }
        match decode(&text) {
            Some(decoded) if decoded == text => return true,
            Some(decoded) => {
                // A slash that decoding brings forth would make segments that the upstream may or may not see.
                if decoded.matches('/').count() != text.matches('/').count() {
                    return false;
                }
                text = decoded;
            }
            None => return false,
        }
    }
    false
}

fn plain(path: &str) -> bool {
    let odd = |c: char| c.is_control() || c == '\\';
    path.starts_with('/') && !path.chars().any(odd) && !path.split('/').any(|s| s == ".." || s == ".")
}

/// Takes one layer of percent-encoding off; none if it is malformed or does not give text.
fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let hex = [bytes.next()?, bytes.next()?];
        let hex = std::str::from_utf8(&hex)
            .ok()
            .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(hex, 16).ok()?);
    }
    // Bytes that are no UTF-8 stand for themselves: nothing that is looked for hides in them.
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// A path in the spelling that patterns are matched against, made once for all of them.
#[derive(Debug)]
pub(crate) struct PathText<'a>(Cow<'a, str>);

impl<'a> PathText<'a> {
    /// Decodes what never needed encoding, so that one path has one spelling.
    pub(crate) fn of(path: &'a str) -> PathText<'a> {
        match path.contains('%') {
            true => PathText(Cow::Owned(unreserved(path))),
            false => PathText(Cow::Borrowed(path)),
        }
    }

    /// The path.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a pattern matches.
    pub(crate) fn matches(&self, glob: &PathGlob) -> bool {
        self.0.starts_with(head(glob)) && segments(&glob.0, &self.0)
    }
}

/// What every path that a pattern matches begins with: most rules of a long policy are about other paths, and this is enough to
/// say so.
pub(crate) fn head(glob: &PathGlob) -> &str {
    match glob.0.find('*') {
        // The segment with the star may be none at all, with the slash before it.
        Some(star) => glob
            .0
            .get(..star)
            .and_then(|t| t.rsplit_once('/'))
            .map_or("", |(t, _)| t),
        None => &glob.0,
    }
}

/// Whether a pattern matches a path: `*` within one segment, `**` any number of segments.
pub fn matches(pattern: &str, path: &str) -> bool {
    segments(pattern, PathText::of(path).as_str())
}

fn segments(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    // Greedy with one point of return, as for `*` in a segment: `**` takes as little as possible, then more.
    let (mut p, mut s) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while s < path.len() {
        match (pattern.get(p), path.get(s)) {
            (Some(&"**"), _) => {
                back = Some((p, s));
                p += 1;
            }
            (Some(want), Some(have)) if segment(want, have) => {
                p += 1;
                s += 1;
            }
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    p = star + 1;
                    s = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|r| *r == "**"))
}

/// Decodes what never needed encoding, so that one path has one spelling.
fn unreserved(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let code = after.get(1..3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match code.map(char::from) {
            Some(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~') => {
                out.push(c);
                rest = after.get(3..).unwrap_or("");
            }
            _ => {
                out.push('%');
                rest = after.get(1..).unwrap_or("");
            }
        }
    }
    out.push_str(rest);
    out
}

fn segment(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(c) if text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match back {
                Some((star, at)) => {
                    back = Some((star, at + 1));
                    p = star + 1;
                    t = at + 1;
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|b| *b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_segments() {
        for (pattern, path, expected) in [
            ("/v1/**", "/v1/chat/completions", true),
            ("/v1/**", "/v1", true),
            ("/v1/**", "/v1/", true),
            ("/v1/**", "/v10/x", false),
            ("/*/*/git-upload-pack", "/a/b/git-upload-pack", true),
            ("/*/*/git-upload-pack", "/a/b/c/git-upload-pack", false),
            ("/*/*/git-upload-pack", "/a/git-upload-pack", false),
            ("/a*c/d", "/abbc/d", true),
            ("/a*c/d", "/ab/c/d", false),
            ("/**/x", "/a/b/x", true),
            ("/**/x", "/x", true),
            ("/%61", "/a", false),
            ("/a", "/%61", true),
            ("/", "/", true),
            ("/*", "/a/b", false),
            ("/v1/**/a/**/b", "/v1/a/a/c/b", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn paths_in_disguise_are_not_well_formed() {
        for good in [
            "/", "/v1/chat", "/a%20b", "/%C3%A9", "/a..b/c", "/...", "/a%", "/%FF",
        ] {
            assert_eq!(well_formed(good), good != "/a%", "{good}");
        }
        for bad in [
            "",
            "v1",
            "*",
            "/../x",
            "/v1/..",
            "/v1/%2e%2e/x",
            "/v1/.%2E/x",
            "/v1/%252e%252e/x",
            "/a%2fb",
            "/a%252Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00",
            "/a\u{1}",
            "/%zz",
            "/./a",
            "/a%25252fb",
        ] {
            assert!(!well_formed(bad), "{bad}");
        }
    }

    fn oracle(pattern: &[&str], path: &[&str]) -> bool {
        fn inside(p: &[u8], t: &[u8]) -> bool {
            match (p.first(), t.first()) {
                (None, None) => true,
                (Some(b'*'), _) => inside(&p[1..], t) || (!t.is_empty() && inside(p, &t[1..])),
                (Some(a), Some(b)) if a == b => inside(&p[1..], &t[1..]),
                _ => false,
            }
        }
        match (pattern.first(), path.first()) {
            (None, None) => true,
            (Some(&"**"), _) => {
                oracle(&pattern[1..], path) || (!path.is_empty() && oracle(pattern, &path[1..]))
            }
            (Some(p), Some(t)) => inside(p.as_bytes(), t.as_bytes()) && oracle(&pattern[1..], &path[1..]),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_it_says(pattern in "(/(\\*\\*|[ab*]{0,3})){1,4}", path in "(/[ab]{0,3}){1,4}") {
            let p: Vec<&str> = pattern.split('/').collect();
            let t: Vec<&str> = path.split('/').collect();
            prop_assert_eq!(matches(&pattern, &path), oracle(&p, &t), "{} {}", pattern, path);
            let quick = PathText::of(&path).matches(&PathGlob(pattern.clone()));
            prop_assert_eq!(quick, oracle(&p, &t), "{} {}", pattern, path);
        }
    }
}
