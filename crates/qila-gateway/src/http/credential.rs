//! The placeholder becomes the credential, in the places that the policy names.
use crate::secrets::{Entry, Held};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Uri, header};
use qila_inspect::placeholder::Finder;
use qila_policy::model::Placement;
use zeroize::Zeroize;

/// Why a request that holds a placeholder goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misplaced {
    /// It is not as the policy says.
    Violation(&'static str),
    /// There is no value at present, or none that fits.
    Gone(String),
}

impl From<&'static str> for Misplaced {
    fn from(what: &'static str) -> Misplaced {
        Misplaced::Violation(what)
    }
}

/// Swaps the placeholder of a credential for its value. False: the request holds it nowhere that the policy names, and stays as
/// it is.
pub(crate) fn place(secret: Option<(&Entry, &Held)>, parts: &mut Parts) -> Result<bool, Misplaced> {
    let Some((entry, held)) = secret.filter(|(entry, _)| !entry.placement.signs()) else {
        return Ok(false);
    };
    // Where there is none, the place is looked for all the same: only a request that needs it is refused.
    let value = held.text();
    let mut placed = false;
    for place in entry.placement.iter() {
        placed |= at(place, &entry.placeholder, value.unwrap_or_default(), parts)?;
    }
    match (placed, value) {
        (true, Err(why)) => Err(Misplaced::Gone(format!(
            "the credential `{}` has no value: {why}",
            entry.name
        ))),
        (placed, _) => Ok(placed),
    }
}

fn at(place: &Placement, placeholder: &str, value: &str, parts: &mut Parts) -> Result<bool, &'static str> {
    match place {
        Placement::Bearer => in_header(parts, &header::AUTHORIZATION, |text| {
            let (scheme, token) = text.split_once(' ')?;
            let ours = scheme.eq_ignore_ascii_case("bearer") && token.trim() == placeholder;
            ours.then(|| format!("Bearer {value}"))
        }),
        Placement::Header(name) => {
            let name: HeaderName = name.parse().map_err(|_| "the policy names no header")?;
            in_header(parts, &name, |text| {
                let (before, after) = text.split_once(placeholder)?;
                (!after.contains(placeholder)).then(|| format!("{before}{value}{after}"))
            })
        }
        Placement::Basic { username } => in_header(parts, &header::AUTHORIZATION, |text| {
            let (scheme, encoded) = text.split_once(' ')?;
            let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
            let expected = format!("{username}:{placeholder}");
            let ours = scheme.eq_ignore_ascii_case("basic") && decoded == expected.as_bytes();
            ours.then(|| {
                let mut pair = format!("{username}:{value}");
                let text = format!("Basic {}", BASE64_STANDARD.encode(&pair));
                pair.zeroize();
                text
            })
        }),
        Placement::Query(name) => in_query(parts, name, placeholder, value),
        Placement::SigV4 => Ok(false), // that is done once all else of the request is known
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

fn in_query(parts: &mut Parts, name: &str, placeholder: &str, value: &str) -> Result<bool, &'static str> {
    let Some(query) = parts.uri.query() else {
        return Ok(false);
    };
    let mut found = 0;
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((n, v)) if n == name && v == placeholder => {
                found += 1;
                format!("{n}={}", percent(value))
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
