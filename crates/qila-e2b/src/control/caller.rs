//! Who asks: the key in `X-API-Key`, or in `Authorization: Bearer`. The rule is that of the native API, which counts requests by it.
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
    pub admin: bool,
}

fn unauthorized(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, message)
}

/// The key that a request shows. Two that differ are none.
pub(super) fn shown(headers: &HeaderMap) -> Option<SecretString> {
    let one = |name| {
        let mut all = headers.get_all(name).iter();
        let value = all.next()?.to_str().ok()?;
        all.next().is_none().then_some(value)
    };
    let bearer = one("authorization").and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let key = match (bearer, one("x-api-key")) {
        (Some(a), Some(b)) if a != b => return None,
        (a, b) => a.or(b)?,
    };
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
        let key = shown(&parts.headers).ok_or_else(|| unauthorized("one key is needed in `X-API-Key`"))?;
        match plane.holder(&key).await? {
            Some(principal) => Ok(Caller {
                tenant: principal.tenant,
                admin: principal.admin,
            }),
            None => Err(unauthorized("the key is unknown, expired or revoked")),
        }
    }
}
