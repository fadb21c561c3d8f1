//! Patterns over paths and over single texts.
use serde::Serialize;
use std::fmt;

/// A path pattern: `*` matches within one segment, `**` any number of segments, everything else itself. Starts with `/`.
///
/// Matched against the path after percent-decoding of unreserved characters; a path with `..`, an encoded slash, an
/// encoded NUL or a backslash matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PathGlob(pub String);

impl fmt::Display for PathGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest pattern, in bytes.
pub const MAX_GLOB: usize = 256;
/// Most `*` of a pattern.
const MAX_STARS: usize = 16;
/// Longest text, in bytes, that a pattern is tried on, unless it is `*`: what matching costs is bounded by the product.
pub const MAX_TEXT: usize = 64 * 1024;

/// A pattern over one whole text: `*` matches any text, `?` one character, `[abc]`, `[a-z]` and `[!0-9]` one of (or none of)
/// a class, everything else itself. `[*]` is a star.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct TextGlob(String);

impl From<TextGlob> for String {
    fn from(glob: TextGlob) -> String {
        glob.0
    }
}

impl fmt::Display for TextGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One part of a pattern that stands for one character.
enum One<'p> {
    Any,
    Char(char),
    Class(bool, &'p str),
}

impl TextGlob {
    /// Reads a pattern; none if a class is open, empty or upside down, if it is too long, or holds a control character.
    pub fn parse(text: &str) -> Option<TextGlob> {
        let stars = text.bytes().filter(|b| *b == b'*').count();
        if text.len() > MAX_GLOB || stars > MAX_STARS || text.chars().any(char::is_control) {
            return None;
        }
        let mut rest = text;
        while !rest.is_empty() {
            rest = match rest.strip_prefix('*') {
                Some(rest) => rest,
                None => one(rest)?.1,
            };
        }
        Some(TextGlob(text.to_owned()))
    }

    /// A pattern of this crate's own, known to be one.
    pub(crate) fn literal(text: &'static str) -> TextGlob {
        TextGlob(text.to_owned())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it knows no other sign than `*`.
    pub fn only_stars(&self) -> bool {
        !self.0.contains(['?', '['])
    }

    /// Whether it stands for one text alone.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '?', '['])
    }

    /// Whether it is about a path, so that a text which climbs out of it cannot be meant.
    pub fn is_path(&self) -> bool {
        self.0.contains('/')
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        if self.0 == "*" {
            return true;
        }
        if text.len() > MAX_TEXT {
            return false;
        }
        let (mut pattern, mut rest) = (self.0.as_str(), text);
        // Greedy with one point of return: a star takes as little as possible, then more.
        let mut back: Option<(&str, &str)> = None;
        loop {
            if let Some(after) = pattern.strip_prefix('*') {
                pattern = after;
                back = Some((after, rest));
                continue;
            }
            let mut chars = rest.chars();
            let step = match (chars.next(), pattern.is_empty()) {
                (None, true) => return true,
                (None, false) => return false,
                (Some(_), true) => None,
                (Some(c), false) => one(pattern).filter(|(part, _)| part.is(c)),
            };
            if let Some((_, after)) = step {
                (pattern, rest) = (after, chars.as_str());
                continue;
            }
            let Some((star, from)) = back else { return false };
            let mut from = from.chars();
            if from.next().is_none() {
                return false;
            }
            back = Some((star, from.as_str()));
            (pattern, rest) = (star, from.as_str());
        }
    }

    /// Whether a value that may be used as a path matches: as [`TextGlob::matches`], and where the pattern is about a path, the
    /// value has no `..` part, so that `/data/*` does not match `/data/../etc`.
    pub fn matches_value(&self, text: &str) -> bool {
        let climbs = || text.split(['/', '\\']).any(|part| part == "..");
        self.matches(text) && !(self.is_path() && climbs())
    }
}

impl One<'_> {
    fn is(&self, c: char) -> bool {
        match self {
            One::Any => true,
            One::Char(own) => *own == c,
            One::Class(not, class) => {
                let mut found = false;
                let mut chars = class.chars();
                while let Some(low) = chars.next() {
                    let mut ahead = chars.clone();
                    let high = match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(high)) => {
                            chars = ahead;
                            high
                        }
                        _ => low,
                    };
                    found |= (low..=high).contains(&c);
                }
                found != *not
            }
        }
    }
}

/// The first part of a pattern that does not begin with a star, and what follows it.
fn one(pattern: &str) -> Option<(One<'_>, &str)> {
    let mut chars = pattern.chars();
    match chars.next()? {
        '?' => Some((One::Any, chars.as_str())),
        '[' => {
            let inner = chars.as_str();
            let (not, inner) = match inner.strip_prefix('!') {
                Some(inner) => (true, inner),
                None => (false, inner),
            };
            // A `]` that comes first stands for itself.
            let first = inner.chars().next()?.len_utf8();
            let end = inner.get(first..)?.find(']')? + first;
            let class = inner.get(..end)?;
            upright(class).then_some((One::Class(not, class), inner.get(end + 1..)?))
        }
        c => Some((One::Char(c), chars.as_str())),
    }
}

/// Whether no range of a class runs backwards.
fn upright(class: &str) -> bool {
    let chars: Vec<char> = class.chars().collect();
    let mut at = 0;
    while let Some(low) = chars.get(at) {
        match (chars.get(at + 1), chars.get(at + 2)) {
            (Some('-'), Some(high)) if low <= high => at += 3,
            (Some('-'), Some(_)) => return false,
            _ => at += 1,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("true", "true", true),
            ("true", "truex", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b\nc", true),
            ("application/json*", "application/json; charset=utf-8", true),
            ("[0-9]*", "12", true),
            ("[0-9]*", "x", false),
            ("[0-9]*", "", false),
            ("[!0-9]", "a", true),
            ("[!0-9]", "5", false),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[*]", "*", true),
            ("[*]", "a", false),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxb", false),
            ("create*", "create", true),
        ] {
            let glob = TextGlob::parse(pattern).unwrap();
            assert_eq!(glob.matches(text), expected, "{pattern} {text}");
        }
        for bad in [
            "[",
            "[a",
            "a[]",
            "[z-a]",
            "a\nb",
            "[!]",
            &"*".repeat(17),
            &"a".repeat(257),
        ] {
            assert!(TextGlob::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_value_that_climbs_out_of_a_path_does_not_match() {
        let data = TextGlob::parse("/data/*").unwrap();
        for (text, expected) in [
            ("/data/x", true),
            ("/data/a..b", true),
            ("/data/../etc/passwd", false),
            ("/data/..", false),
            ("/data/a\\..\\..\\b", false),
        ] {
            assert_eq!(data.matches_value(text), expected, "{text}");
        }
        assert!(TextGlob::parse("a*").unwrap().matches_value("a/../b"));
    }

    fn oracle(pattern: &[char], text: &[char]) -> bool {
        match pattern.first() {
            None => text.is_empty(),
            Some('*') => (0..=text.len()).any(|n| oracle(&pattern[1..], &text[n..])),
            Some('?') => !text.is_empty() && oracle(&pattern[1..], &text[1..]),
            Some(c) => text.first() == Some(c) && oracle(&pattern[1..], &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_it_says(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let glob = TextGlob::parse(&pattern).unwrap();
            let chars = |t: &str| t.chars().collect::<Vec<_>>();
            prop_assert_eq!(glob.matches(&text), oracle(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn any_text_is_a_pattern_or_none(pattern in "\\PC{0,20}|[\\[\\]a!*-]{0,9}", text in "\\PC{0,20}") {
            if let Some(glob) = TextGlob::parse(&pattern) {
                let _ = glob.matches_value(&text);
            }
        }
    }
}
