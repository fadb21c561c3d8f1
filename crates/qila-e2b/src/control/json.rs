//! Bodies of requests as JSON.
use super::error::Refusal;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::{StatusCode, header};
use qila_api::SandboxId;
use serde::de::DeserializeOwned;

/// A body that was JSON. An empty one is an object without fields: some clients send none where nothing is said.
#[derive(Debug)]
pub(super) struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Json<T>, Refusal> {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let kind = kind.map(|k| k.split(';').next().unwrap_or("").trim().to_ascii_lowercase());
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|e| Refusal::new(e.status(), e.body_text()))?;
        if bytes.is_empty() {
            let empty = serde_json::Value::Object(serde_json::Map::new());
            return T::deserialize(empty)
                .map(Json)
                .map_err(|e| Refusal::bad(e.to_string()));
        }
        if kind.is_none_or(|k| k != "application/json") {
            let what = "the body is application/json";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
        }
        // A list would be read as the fields of an object in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Refusal::bad("the body is a JSON object"));
        }
        serde_json::from_slice(&bytes)
            .map(Json)
            .map_err(|e| Refusal::bad(format!("the body cannot be read: {e}")))
    }
}

/// The id of a sandbox in a path. What cannot be one is not there.
pub(super) fn sandbox(id: &str) -> Result<SandboxId, Refusal> {
    SandboxId::parse(id).map_err(|_| no_sandbox(id))
}

pub(super) fn no_sandbox(id: &str) -> Refusal {
    let id: String = id.chars().take(64).collect();
    Refusal::missing(format!("there is no sandbox `{}`", id.escape_debug()))
}
