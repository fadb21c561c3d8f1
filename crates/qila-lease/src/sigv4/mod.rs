//! AWS Signature Version 4, as <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html> has it.
mod canonical;
mod theirs;
mod time;

pub use theirs::{Sent, Theirs};
pub(crate) use time::days;

use crate::hidden::Hidden;
use ring::digest::{SHA256, digest};
use ring::hmac;
use zeroize::Zeroizing;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Most headers, and most bytes of a target, that are signed.
const MAX_HEADERS: usize = 256;
const MAX_TARGET: usize = 64 * 1024;

/// Keys of AWS.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The key's id.
    pub id: Hidden,
    /// The key.
    pub secret: Hidden,
    /// The session's token, for temporary keys.
    pub session: Option<Hidden>,
}

/// What a signature is good for.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Region.
    pub region: &'a str,
    /// Service.
    pub service: &'a str,
}

/// A request's body, as far as its signature goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// What the agent says of it: it is passed on as it is, and AWS checks it.
    Said(Sent),
}

/// A request to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Path as it is sent.
    pub path: &'a str,
    /// Query as it is sent.
    pub query: Option<&'a str>,
    /// Headers that are signed, names in lower case, `host` among them.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Its body.
    pub payload: Payload<'a>,
}

/// Why a request is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// It is out of bounds.
    #[error("the request is too large to be signed")]
    Large,
    /// The agent's own signature is none.
    #[error("the `authorization` header is no signature of AWS's")]
    Malformed,
    /// Each piece of the body has a signature of its own.
    #[error(
        "the body is signed piece by piece, which cannot be signed anew; have the client send it unsigned (botocore: `request_checksum_calculation = when_required`, the AWS SDKs: no chunked encoding)"
    )]
    Pieces,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn mac(key: &[u8], text: &[u8]) -> Zeroizing<Vec<u8>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    Zeroizing::new(hmac::sign(&key, text).as_ref().to_vec())
}

/// The headers to set: the signature, when it was made, what is said of the body, and the session's token.
pub fn sign(
    keys: &Keys,
    scope: Scope<'_>,
    now: u64,
    request: &Request<'_>,
) -> Result<Vec<(&'static str, Zeroizing<String>)>, SignError> {
    let target = request.path.len() + request.query.map_or(0, str::len);
    if request.headers.len() > MAX_HEADERS || target > MAX_TARGET {
        return Err(SignError::Large);
    }
    let payload = match request.payload {
        Payload::Whole(bytes) => hex(digest(&SHA256, bytes).as_ref()),
        Payload::Said(sent) => sent.text(),
    };
    let time = time::stamp(now);
    let mut set = vec![
        ("x-amz-content-sha256", Zeroizing::new(payload.clone())),
        ("x-amz-date", Zeroizing::new(time.clone())),
    ];
    if let Some(token) = &keys.session {
        set.push(("x-amz-security-token", Zeroizing::new(token.expose().to_owned())));
    }
    let mut headers: Vec<(&str, &[u8])> = set.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    let ours = |name: &str| name == "authorization" || set.iter().any(|(n, _)| *n == name);
    headers.extend(request.headers.iter().filter(|(name, _)| !ours(name)));
    let signed = authorization(keys, scope, &time, request, &headers, &payload);
    set.push(("authorization", signed));
    Ok(set)
}

fn authorization(
    keys: &Keys,
    scope: Scope<'_>,
    time: &str,
    request: &Request<'_>,
    headers: &[(&str, &[u8])],
    payload: &str,
) -> Zeroizing<String> {
    let (canonical, names) = canonical::request(request, headers, payload, scope.service);
    let day = time.get(..8).unwrap_or_default();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    let text = format!(
        "{ALGORITHM}\n{time}\n{place}\n{}",
        hex(digest(&SHA256, &canonical).as_ref())
    );
    let secret = Zeroizing::new(format!("AWS4{}", keys.secret.expose()));
    let mut key = mac(secret.as_bytes(), day.as_bytes());
    for part in [scope.region, scope.service, "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    let signature = hex(&mac(&key, text.as_bytes()));
    Zeroizing::new(format!(
        "{ALGORITHM} Credential={}/{place}, SignedHeaders={names}, Signature={signature}",
        keys.id.expose()
    ))
}

/// Reads a signature, and signs what it is on.
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut lines = bytes.split(|b| *b == b'\n');
    let mut line = || lines.next().unwrap_or(&[]);
    let (said, body, target, header) = (line(), line(), line(), line());
    let theirs = Theirs::read(said, Some(body).filter(|b| !b.is_empty()));
    let sent = theirs.ok().and_then(|t| t.sent);
    let Ok(target) = std::str::from_utf8(target) else {
        return;
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    for service in ["s3", "dynamodb"] {
        let request = Request {
            method: "GET",
            path,
            query: Some(query),
            headers: &[("host", header), ("x-amz-meta", header)],
            payload: sent.map_or(Payload::Whole(body), Payload::Said),
        };
        let keys = Keys {
            id: "id".into(),
            secret: "secret".into(),
            session: None,
        };
        let _ = sign(
            &keys,
            Scope { region: "r", service },
            u64::from(u32::MAX),
            &request,
        );
    }
}

#[cfg(test)]
mod tests;
