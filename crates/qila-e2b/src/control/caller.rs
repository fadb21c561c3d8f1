//! Who asks: the key in `X-API-Key`, or in `Authorization: Bearer`.
use super::error::Refusal;
use super::{Plane, Shared};
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use qila_api::Tenant;
use secrecy::SecretString;
use std::sync::Arc;

/// Longest key in bytes.
const KEY: usize = 256;
/// Keys of ours begin so. With E2B's prefix instead, they are the same keys, for whoever checks what a key looks like.
const OURS: &str = "qila_";
const THEIRS: &str = "e2b_";

/// Who asks.
#[derive(Debug)]
pub(super) struct Caller {
    pub tenant: Tenant,
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, message)
}

/// The key that a request shows.
pub(super) fn shown(headers: &HeaderMap) -> Option<SecretString> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &http::HeaderValue| v.to_str().ok())
    };
    let bearer = || {
        let (scheme, rest) = text("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(rest)
    };
    let key = text("x-api-key").or_else(bearer)?.trim();
    (!key.is_empty() && key.len() <= KEY).then(|| SecretString::from(key))
}

impl Shared {
    async fn holder(&self, key: &SecretString) -> Result<Option<qila_api::Principal>, Refusal> {
        use secrecy::ExposeSecret;
        if let Some(principal) = self.keys.authenticate(key).await? {
            return Ok(Some(principal));
        }
        let Some(rest) = key.expose_secret().strip_prefix(THEIRS) else {
            return Ok(None);
        };
        let ours = SecretString::from(format!("{OURS}{rest}"));
        Ok(self.keys.authenticate(&ours).await?)
    }
}

impl FromRequestParts<Arc<Shared>> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, plane: &Plane) -> Result<Caller, Refusal> {
        let key = shown(&parts.headers).ok_or_else(|| unauthorized("a key is needed in `X-API-Key`"))?;
        match plane.holder(&key).await? {
            Some(principal) => Ok(Caller {
                tenant: principal.tenant,
            }),
            None => Err(unauthorized("the key is unknown, expired or revoked")),
        }
    }
}
