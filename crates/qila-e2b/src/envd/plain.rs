//! Answers that are plain HTTP, and the two smallest routes.
use super::Envd;
use super::access::admit;
use crate::connect::words;
use crate::sandbox_not_found;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use qila_api::{ApiError, Kind};
use serde_json::json;

/// `{code, message}`.
pub(super) fn say(status: StatusCode, message: &str) -> impl IntoResponse + use<> {
    (status, Json(json!({"code": status.as_u16(), "message": message})))
}

/// An error of the node.
pub(super) fn error(error: &ApiError) -> Response {
    let status = match error.kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Refused => StatusCode::FORBIDDEN,
        Kind::Quota | Kind::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
        Kind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Gone => StatusCode::BAD_GATEWAY,
        Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = say(status, &words(error)).into_response();
    if let Kind::Busy { retry_after } = error.kind {
        let seconds = HeaderValue::from(retry_after.as_secs().max(1));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// Whether the sandbox runs. No token is asked for: it says no more than the ports do.
pub(super) async fn health(State(envd): State<Envd>, parts: Parts) -> Response {
    let id = parts.extensions.get::<qila_api::SandboxId>().cloned();
    let header = || parts.headers.get("e2b-sandbox-id")?.to_str().ok();
    let id = match id {
        Some(id) => id,
        None => match header().map(qila_api::SandboxId::parse) {
            Some(Ok(id)) => id,
            _ => return sandbox_not_found(""),
        },
    };
    match envd.node.find(&id).await {
        Ok(sandbox) if sandbox.state == qila_api::State::Running => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => sandbox_not_found(id.as_str()),
        Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone) => sandbox_not_found(id.as_str()),
        Err(e) => error(&e),
    }
}

/// What the sandbox uses.
pub(super) async fn metrics(State(envd): State<Envd>, parts: Parts) -> Response {
    let access = match admit(&envd, &parts, None).await {
        Ok(access) => access,
        Err(response) => return *response,
    };
    match access.node().metrics(&access.tenant, &access.id).await {
        Ok(m) => Json(json!({
            "ts": m.time_ms / 1000,
            "cpu_count": m.cpu_count,
            "cpu_used_pct": m.cpu_percent,
            "mem_total": m.memory_total,
            "mem_used": m.memory_used,
            "mem_cache": 0,
            "mem_total_mib": m.memory_total >> 20,
            "mem_used_mib": m.memory_used >> 20,
            "disk_used": m.disk_used,
            "disk_total": m.disk_total,
        }))
        .into_response(),
        Err(e) => error(&access.explain(e).await),
    }
}
