//! Reading requests strictly: what is not understood is an error, not ignored.
use crate::app::App;
use crate::problem::Problem;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{StatusCode, header};
use qila_api::SandboxId;
use serde::de::DeserializeOwned;

/// Bytes that a JSON body may have.
pub(crate) const MAX_JSON: usize = 1 << 20;

/// A JSON body, and its bytes as they came.
pub(crate) struct Body<T> {
    pub value: T,
    pub bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Body<T>, Problem> {
        let said = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("");
        let essence = said.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media-type",
                "Not JSON",
                "the body has to be `application/json`",
            ));
        }
        let declared = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok());
        if declared
            .and_then(|n| n.parse::<usize>().ok())
            .is_some_and(|n| n > MAX_JSON)
        {
            return Err(too_large());
        }
        let read = axum::body::to_bytes(request.into_body(), MAX_JSON);
        // It is small: what takes longer than a whole request may is sent by somebody who wants the place.
        let bytes = tokio::time::timeout(app.limits.idle.min(app.limits.request), read)
            .await
            .map_err(|_| Problem::timeout("the body did not come in time"))?
            .map_err(|error| {
                let long = std::error::Error::source(&error)
                    .is_some_and(|e| e.is::<http_body_util::LengthLimitError>());
                if long {
                    too_large()
                } else {
                    Problem::invalid("the body ended early")
                }
            })?;
        let value = serde_json::from_slice(&bytes).map_err(|error| Problem::invalid(error.to_string()))?;
        Ok(Body { value, bytes })
    }
}

fn too_large() -> Problem {
    let detail = format!("a body has at most {MAX_JSON} bytes");
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The body is too large",
        detail,
    )
}

/// The query, in which every name is known.
pub(crate) struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked<T>, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Asked(value))
            .map_err(|error| Problem::invalid(error.body_text()))
    }
}

/// Ids in the path. What is no id names nothing.
pub(crate) struct At<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<At<T>, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| At(value))
            .map_err(|error| Problem::not_found(error.body_text().trim_start_matches("Invalid URL: ")))
    }
}

/// The sandbox of the path.
pub(crate) type Sandbox = At<SandboxId>;
