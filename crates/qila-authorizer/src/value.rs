//! Values of the query and of headers that a condition may be about: there once, and plain.
use http::HeaderMap;
use std::borrow::Cow;

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// Nothing.
    Nothing,
    /// One plain value.
    One(Cow<'a, str>),
    /// Several, or one that can be read in more than one way: nobody can say what the upstream takes.
    Unclear,
}

/// A query, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
    /// Whether what the parameters are is itself unclear.
    unclear: bool,
}

/// Most parameters that are told apart.
const MAX_PAIRS: usize = 256;

impl<'a> Query<'a> {
    /// Takes a query apart as forms are encoded: `&` between pairs, `+` for a space, percent-encoded UTF-8.
    pub(crate) fn of(text: Option<&'a str>) -> Query<'a> {
        let mut query = Query::default();
        for pair in text.unwrap_or_default().split('&') {
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // Some servers part pairs at `;` too.
            let Some(name) = decoded(name).filter(|_| !pair.contains(';') && query.pairs.len() < MAX_PAIRS)
            else {
                query.unclear = true;
                return query;
            };
            query.pairs.push((name, decoded(value)));
        }
        query
    }

    /// What stands under a name. A name that differs in case alone makes it unclear, as some servers know no case.
    pub(crate) fn get(&self, name: &str) -> Found<'_> {
        if self.unclear {
            return Found::Unclear;
        }
        let mut all = self.pairs.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match (all.next(), all.next()) {
            (None, _) => Found::Nothing,
            (Some((n, Some(value))), None) if n == name => Found::One(Cow::Borrowed(value)),
            _ => Found::Unclear,
        }
    }
}

/// Takes the encoding off; none if it is malformed, or gives no text, or a control character.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return plain(text).then_some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b => b,
        });
    }
    let text = String::from_utf8(out).ok()?;
    plain(&text).then_some(Cow::Owned(text))
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

fn plain(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// What stands under the name of a header.
pub(crate) fn header<'a>(headers: Option<&'a HeaderMap>, name: &str) -> Found<'a> {
    let Some(headers) = headers else {
        return Found::Unclear;
    };
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (None, _) => Found::Nothing,
        (Some(value), None) => match value.to_str() {
            Ok(text) if plain(text) => Found::One(Cow::Borrowed(text)),
            _ => Found::Unclear,
        },
        _ => Found::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_parameter_is_there_once_and_plain() {
        let one = |t: &'static str| Found::One(Cow::Borrowed(t));
        for (query, name, expected) in [
            ("a=1&b=2", "a", one("1")),
            ("a=1", "b", Found::Nothing),
            ("", "a", Found::Nothing),
            ("&&a=1&", "a", one("1")),
            ("a", "a", one("")),
            ("a=b=c", "a", one("b=c")),
            ("a=x+y%20z", "a", one("x y z")),
            ("%61=1", "a", one("1")),
            ("a=%C3%A9", "a", one("é")),
            ("a=1&a=1", "a", Found::Unclear),
            ("a=1&%61=2", "a", Found::Unclear),
            ("a=1&A=2", "a", Found::Unclear),
            ("A=1", "a", Found::Unclear),
            ("a=%zz", "a", Found::Unclear),
            ("a=%", "a", Found::Unclear),
            ("a=%+1", "a", Found::Unclear),
            ("a=%ff", "a", Found::Unclear),
            ("a=%00", "a", Found::Unclear),
            ("a=%0a", "a", Found::Unclear),
            ("a=1&b=%zz", "a", one("1")),
            ("a=1&%zz=2", "a", Found::Unclear),
            ("a=1;b=2", "a", Found::Unclear),
            ("a=1&c=2;b=3", "a", Found::Unclear),
        ] {
            assert_eq!(Query::of(Some(query)).get(name), expected, "{query} {name}");
        }
        assert_eq!(Query::of(None).get("a"), Found::Nothing);
        let many = vec!["b=1"; MAX_PAIRS + 1].join("&");
        assert_eq!(Query::of(Some(&many)).get("a"), Found::Unclear);
    }

    #[test]
    fn a_header_is_there_once_and_plain() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static("1"));
        headers.append("b", HeaderValue::from_static("1"));
        headers.append("b", HeaderValue::from_static("1"));
        headers.append("c", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(header(Some(&headers), "a"), Found::One("1".into()));
        assert_eq!(header(Some(&headers), "b"), Found::Unclear);
        assert_eq!(header(Some(&headers), "c"), Found::Unclear);
        assert_eq!(header(Some(&headers), "d"), Found::Nothing);
        assert_eq!(header(None, "a"), Found::Unclear);
    }
}
