//! What kind of body a head announces.
use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// The one media type of a body in lower case, without its parameters. None: there is none, or several, or it names a charset
/// other than UTF-8, which some readers would use and others not.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let mut parts = value
        .to_str()
        .ok()?
        .split(';')
        .map(|part| part.trim_matches([' ', '\t']));
    let kind = parts.next()?.to_ascii_lowercase();
    let charset = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let utf8 = value.trim_matches('"').eq_ignore_ascii_case("utf-8");
        !name.trim_end().eq_ignore_ascii_case("charset") || utf8
    };
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b);
    let words = kind
        .split_once('/')
        .filter(|(kind, sub)| !kind.is_empty() && !sub.is_empty());
    let fine = words.is_some_and(|(kind, sub)| kind.bytes().all(token) && sub.bytes().all(token));
    (fine && parts.all(charset)).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn kinds() {
        for (values, want) in [
            (&["application/json"][..], Some("application/json")),
            (&["Application/JSON ; charset=UTF-8"], Some("application/json")),
            (
                &["application/json; charset=\"utf-8\"; x=y"],
                Some("application/json"),
            ),
            (&["application/json;charset=utf-16"], None),
            (&["application/json; Charset =utf-7"], None),
            (&["application/json", "text/plain"], None),
            (&["application/json, text/plain"], None),
            (&["application/json x"], None),
            (&["json"], None),
            (&["/"], None),
            (&[""], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
            }
            assert_eq!(media_type(&headers).as_deref(), want, "{values:?}");
        }
    }
}
