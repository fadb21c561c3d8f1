//! Errors as E2B's control plane says them: `{code, message}`.
use crate::connect::words;
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use qila_api::{ApiError, Kind};
use serde_json::json;
use std::time::Duration;

/// Why a request was not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
    /// Whether the SDKs may repeat it by themselves, where they would guess wrong.
    again: Option<bool>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            message: message.into(),
            retry_after: None,
            again: None,
        }
    }

    /// The request makes no sense, or asks for what is not there.
    pub(super) fn bad(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn conflict(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::CONFLICT, message)
    }

    pub(super) fn missing(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    /// The code and the text, for where they are part of an answer.
    pub(super) fn body(&self) -> serde_json::Value {
        json!({"code": self.status.as_u16(), "message": self.message})
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Refusal {
        let status = match error.kind {
            Kind::NotFound | Kind::Gone => StatusCode::NOT_FOUND,
            // What is not in this build does not come by asking again.
            Kind::Invalid | Kind::Unsupported => StatusCode::BAD_REQUEST,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Quota => StatusCode::TOO_MANY_REQUESTS,
            Kind::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Kind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut refusal = Refusal::new(status, words(&error));
        match error.kind {
            Kind::Busy { retry_after } => refusal.retry_after = Some(retry_after),
            // A quota does not come back by waiting a moment.
            Kind::Quota => refusal.again = Some(false),
            _ => {}
        }
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if let Some(again) = self.again {
            headers.insert(
                "should-retry",
                HeaderValue::from_static(if again { "true" } else { "false" }),
            );
        }
        response
    }
}
