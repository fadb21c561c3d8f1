//! Errors, as Connect says them.
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qila_api::{ApiError, Kind};
use serde::Serialize;

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Unimplemented,
    Internal,
    Unavailable,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Code::InvalidArgument | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists => StatusCode::CONFLICT,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fault {
    pub code: Code,
    pub message: String,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Fault {
        Fault::new(Code::InvalidArgument, message)
    }
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Fault {
        let code = match error.kind {
            Kind::NotFound => Code::NotFound,
            Kind::Invalid => Code::InvalidArgument,
            Kind::Conflict => Code::FailedPrecondition,
            Kind::Refused => Code::PermissionDenied,
            // `unavailable` would make the SDKs ask whether the sandbox is still there.
            Kind::Quota | Kind::Busy { .. } | Kind::NoSpace => Code::ResourceExhausted,
            Kind::Timeout => Code::DeadlineExceeded,
            Kind::Gone => Code::Unavailable,
            Kind::Unsupported => Code::Unimplemented,
            Kind::Internal => Code::Internal,
        };
        Fault::new(code, words(&error))
    }
}

/// The message with the clause and the advice that belong to it.
pub(crate) fn words(error: &ApiError) -> String {
    let mut words = error.message.clone();
    if let Some(clause) = &error.clause {
        words = format!("{words} ({clause})");
    }
    if let Some(hint) = &error.hint {
        words = format!("{words}; {hint}");
    }
    words
}

impl IntoResponse for Fault {
    /// As the answer to a unary call.
    fn into_response(self) -> Response {
        (self.code.status(), Json(&self)).into_response()
    }
}
