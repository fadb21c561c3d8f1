//! What E2B's command line asks about itself.
use super::caller::{Caller, shown};
use super::error::Refusal;
use axum::Json;
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// The one team that a key has: its tenant. The key in it is the one that was shown.
pub(super) async fn teams(caller: Caller, headers: HeaderMap) -> Json<Value> {
    let key = shown(&headers);
    Json(json!([{
        "teamID": caller.tenant.as_str(),
        "name": caller.tenant.as_str(),
        "apiKey": key.as_ref().map(|k| k.expose_secret()),
        "isDefault": true,
    }]))
}

/// Keys are not made here.
pub(super) async fn keys(_: Caller) -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "keys are made, listed and revoked by `qila key`",
    )
}
