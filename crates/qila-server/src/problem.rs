//! Errors as answers: `application/problem+json` (RFC 9457).
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use qila_api::{ApiError, BadId, Kind};
use qila_store::StoreError;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// What is answered instead of what was asked for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem: `urn:qila:problem:not-found`, for instance.
    #[serde(rename = "type", serialize_with = "urn")]
    pub kind: &'static str,
    /// The kind in words.
    pub title: &'static str,
    /// The status again.
    pub status: u16,
    /// What happened.
    pub detail: String,
    /// The clause of the policy that does not allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clause: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after_s: Option<u32>,
}

fn urn<S: serde::Serializer>(kind: &&'static str, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("urn:qila:problem:{kind}"))
}

/// Whole seconds, at least one.
fn seconds(after: Duration) -> u32 {
    after.as_secs_f64().ceil().max(1.0) as u32
}

impl Problem {
    /// A problem of this status.
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            clause: None,
            hint: None,
            retry_after_s: None,
        }
    }

    /// A request that makes no sense.
    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid",
            "The request makes no sense",
            detail,
        )
    }

    /// There is no such thing, or not for whoever asks.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    /// No key, or one that nobody has.
    pub fn unauthorized() -> Problem {
        let detail = "show a key: `Authorization: Bearer qila_…` or `X-API-Key: qila_…`";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid key", detail)
    }

    /// The key is sound and not for this.
    pub fn admin_only() -> Problem {
        Problem::new(
            StatusCode::FORBIDDEN,
            "admin-only",
            "For admin keys",
            "this needs an admin key",
        )
    }

    /// Too much at once.
    pub fn too_many(detail: &str, after: Duration) -> Problem {
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "busy", "Too many requests", detail);
        problem.retry_after_s = Some(seconds(after));
        problem
    }

    /// It took too long.
    pub fn timeout(detail: &str) -> Problem {
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "It took too long", detail)
    }

    /// Says what to do.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Problem {
        self.hint = Some(hint.to_owned());
        self
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Problem {
        let (status, kind, title, after) = match &error.kind {
            Kind::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found", None),
            Kind::Invalid => (
                StatusCode::BAD_REQUEST,
                "invalid",
                "The request makes no sense",
                None,
            ),
            Kind::Conflict => (StatusCode::CONFLICT, "conflict", "Not as things stand", None),
            Kind::Refused => (StatusCode::UNPROCESSABLE_ENTITY, "refused", "Not allowed", None),
            Kind::Quota => {
                let after = Some(Duration::from_secs(5));
                (
                    StatusCode::TOO_MANY_REQUESTS,
                    "quota",
                    "The quota is used up",
                    after,
                )
            }
            Kind::Busy { retry_after } => (
                StatusCode::TOO_MANY_REQUESTS,
                "busy",
                "The machine is full for now",
                Some(*retry_after),
            ),
            Kind::NoSpace => (
                StatusCode::INSUFFICIENT_STORAGE,
                "no-space",
                "The disk is full",
                None,
            ),
            Kind::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout", "It took too long", None),
            Kind::Gone => (StatusCode::GONE, "gone", "It is gone", None),
            Kind::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported", "Not here", None),
            Kind::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The node failed",
                None,
            ),
        };
        let mut problem = Problem::new(status, kind, title, error.message);
        (problem.clause, problem.hint, problem.retry_after_s) =
            (error.clause, error.hint, after.map(seconds));
        problem
    }
}

/// What is said of a failure of the store: what SQLite said is not for whoever asked.
pub(crate) fn of_store(error: StoreError) -> ApiError {
    let text = error.to_string();
    match error {
        StoreError::NoSpace => ApiError::new(Kind::NoSpace, text),
        StoreError::Busy => {
            let retry_after = Duration::from_secs(1);
            ApiError::new(Kind::Busy { retry_after }, text)
        }
        StoreError::TooLarge(_) => ApiError::new(Kind::Invalid, text),
        StoreError::Exists(_) | StoreError::InUse(_) => ApiError::new(Kind::Conflict, text),
        StoreError::NoTenant(_) => ApiError::new(Kind::NotFound, text),
        _ => ApiError::new(Kind::Internal, "the state of the node cannot be read or written"),
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        of_store(error).into()
    }
}

impl From<BadId> for Problem {
    fn from(error: BadId) -> Problem {
        Problem::not_found(error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let after = self.retry_after_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(after) = after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
