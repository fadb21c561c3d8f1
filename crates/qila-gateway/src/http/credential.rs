//! The placeholder becomes the credential, in the one place that the policy names.
use crate::secrets::Secret;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Uri, header};
use qila_inspect::placeholder::Finder;
use qila_policy::model::Placement;
use zeroize::Zeroize;

/// Swaps the placeholder of a credential for its value. False: the request does not hold it there, and stays as it is.
pub(crate) fn place(secret: Option<&Secret>, parts: &mut Parts) -> Result<bool, &'static str> {
    let Some(secret) = secret else { return Ok(false) };
    match &secret.placement {
        Placement::Bearer => in_header(parts, &header::AUTHORIZATION, |text| {
            let (scheme, token) = text.split_once(' ')?;
            let ours = scheme.eq_ignore_ascii_case("bearer") && token.trim() == secret.placeholder;
            ours.then(|| format!("Bearer {}", secret.value()))
        }),
        Placement::Header(name) => {
            let name: HeaderName = name.parse().map_err(|_| "the policy names no header")?;
            in_header(parts, &name, |text| {
                let (before, after) = text.split_once(secret.placeholder.as_str())?;
                (!after.contains(secret.placeholder.as_str()))
                    .then(|| format!("{before}{}{after}", secret.value()))
            })
        }
        Placement::Basic { username } => in_header(parts, &header::AUTHORIZATION, |text| {
            let (scheme, encoded) = text.split_once(' ')?;
            let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
            let expected = format!("{username}:{}", secret.placeholder);
            let ours = scheme.eq_ignore_ascii_case("basic") && decoded == expected.as_bytes();
            ours.then(|| {
                let mut pair = format!("{username}:{}", secret.value());
                let text = format!("Basic {}", BASE64_STANDARD.encode(&pair));
                pair.zeroize();
                text
            })
        }),
        Placement::Query(name) => in_query(parts, name, secret),
        Placement::SigV4 => Err("the gateway does not sign requests"),
    }
}

fn in_header(
    parts: &mut Parts,
    name: &HeaderName,
    swap: impl Fn(&str) -> Option<String>,
) -> Result<bool, &'static str> {
    let mut all = parts.headers.get_all(name).iter();
    let Some(first) = all.next() else { return Ok(false) };
    let several = all.next().is_some();
    let Some(mut swapped) = first.to_str().ok().and_then(swap) else {
        return Ok(false);
    };
    if several {
        swapped.zeroize();
        return Err("the header of a credential stands twice");
    }
    let value = HeaderValue::from_str(&swapped);
    swapped.zeroize();
    let mut value = value.map_err(|_| "the credential cannot stand in a header")?;
    value.set_sensitive(true);
    parts.headers.insert(name, value);
    Ok(true)
}

fn in_query(parts: &mut Parts, name: &str, secret: &Secret) -> Result<bool, &'static str> {
    let Some(query) = parts.uri.query() else {
        return Ok(false);
    };
    let mut found = 0;
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((n, v)) if n == name && v == secret.placeholder => {
                found += 1;
                format!("{n}={}", percent(secret.value()))
            }
            _ => pair.to_owned(),
        })
        .collect();
    match found {
        0 => return Ok(false),
        1 => {}
        _ => return Err("the parameter of a credential stands twice"),
    }
    let mut text = format!("{}?{}", parts.uri.path(), pairs.join("&"));
    let uri = text.parse::<Uri>();
    text.zeroize();
    parts.uri = uri.map_err(|_| "the credential cannot stand in a query")?;
    Ok(true)
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

/// Whether a placeholder is left anywhere in the head.
pub(crate) fn none_left(finder: Option<&Finder>, parts: &Parts) -> Result<(), &'static str> {
    let Some(finder) = finder else { return Ok(()) };
    if finder.find(parts.uri.to_string().as_bytes()) {
        return Err("a placeholder in the request's target");
    }
    for (name, value) in &parts.headers {
        // A sensitive value is the real one, just placed; it holds no placeholder.
        if finder.find(name.as_str().as_bytes()) || (!value.is_sensitive() && finder.find(value.as_bytes())) {
            return Err("a placeholder in a header where the policy does not place it");
        }
    }
    Ok(())
}
