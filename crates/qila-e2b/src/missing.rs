//! What is said where a request for a sandbox leads nowhere. The SDKs look for these words.
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

fn bad_gateway(sandbox: &str, port: Option<u16>, message: &str) -> Response {
    let mut body = json!({"sandboxId": sandbox, "message": message, "code": 502});
    if let (Some(port), Some(object)) = (port, body.as_object_mut()) {
        object.insert("port".into(), port.into());
    }
    (StatusCode::BAD_GATEWAY, Json(body)).into_response()
}

/// There is no such sandbox, or it does not run.
pub fn sandbox_not_found(sandbox: &str) -> Response {
    bad_gateway(sandbox, None, "The sandbox was not found")
}

/// The sandbox runs, and nothing in it listens on the port.
pub fn nothing_listens(sandbox: &str, port: u16) -> Response {
    bad_gateway(sandbox, Some(port), "The sandbox is running but port is not open")
}
