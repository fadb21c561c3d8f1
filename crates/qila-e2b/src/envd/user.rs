//! The user that a request speaks for. A sandbox has one identity; `user` and `root` are both names of it.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

/// Whether a name is one of the sandbox's one user.
pub(super) fn is_known(name: &str) -> bool {
    matches!(name, "" | "user" | "root")
}

/// The name in a request's `Authorization: Basic`; none: it has none. An error: it cannot be read.
pub(super) fn named(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    const BAD: &str = "the `Authorization` header is not `Basic`, base64 of `user:`";
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let value = value.to_str().map_err(|_| BAD)?;
    let (scheme, rest) = value.split_once(' ').ok_or(BAD)?;
    // Keys of the control plane come as Bearer and mean no user.
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    if !scheme.eq_ignore_ascii_case("basic") || rest.len() > 1024 {
        return Err(BAD);
    }
    let text = STANDARD.decode(rest.trim()).map_err(|_| BAD)?;
    let text = String::from_utf8(text).map_err(|_| BAD)?;
    let name = text.split(':').next().unwrap_or("");
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn names_are_read() {
        assert_eq!(named(&HeaderMap::new()), Ok(None));
        assert_eq!(named(&with("Basic dXNlcjo=")), Ok(Some("user".into())));
        assert_eq!(named(&with("basic cm9vdDo=")), Ok(Some("root".into())));
        assert_eq!(named(&with("Bearer x")), Ok(None));
        for bad in ["Basic", "Basic !", "Digest x", "Basic /w=="] {
            assert!(named(&with(bad)).is_err(), "{bad}");
        }
        assert!(is_known("user") && is_known("root") && !is_known("daemon"));
    }
}
