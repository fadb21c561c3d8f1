//! What an agent is told instead of an answer: a status, and why in JSON.
use super::body::OutBody;
use super::credential::Misplaced;
use super::exchange::Speaks;
use crate::destination::Destination;
use crate::gate::denied;
use crate::proxy::{CHALLENGE, NO_KEY};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use qila_authorizer::Verdict;
use qila_budget::Unreserved;
use qila_types::{Access, Decision};
use std::time::Duration;

/// Longest message of a refused gRPC call, in bytes before its encoding.
const MAX_MESSAGE: usize = 1024;

/// A request that is not sent on.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// What would have to stand in the policy.
    ask: Option<Box<serde_json::Value>>,
    retry: Option<u64>,
}

impl Refusal {
    /// A refusal that is not the policy's.
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            kind,
            message: message.into(),
            ask: None,
            retry: None,
        }
    }

    /// The head of the request is not what it should be.
    pub(crate) fn malformed(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, "qila_malformed", message)
    }

    /// No rule allows it.
    pub(crate) fn by_policy(verdict: &Verdict, to: &Destination, port: u16, parts: &Parts) -> Refusal {
        let mut refusal = Refusal::new(StatusCode::FORBIDDEN, "qila_denied", verdict.reason.clone());
        refusal.ask = Some(Box::new(serde_json::json!({"network.allow": [{
            "host": to.to_string(), "port": port, "methods": [parts.method.as_str()], "paths": [parts.uri.path()]}]})));
        refusal
    }

    /// A rate of the policy is reached.
    pub(crate) fn too_many(what: &str, wait: Duration) -> Refusal {
        let message = format!("more requests than {what} allows");
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "qila_rate", message);
        refusal.retry = Some(wait.as_secs().saturating_add(1));
        refusal
    }

    /// A budget has no room, or nobody can tell how much is needed.
    pub(crate) fn budget(why: &Unreserved) -> Refusal {
        let message = why.to_string();
        match why {
            Unreserved::Exceeded(e) => match crate::spend::retry(e) {
                Some(seconds) => {
                    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "qila_budget", message);
                    refusal.retry = Some(seconds);
                    refusal
                }
                None => Refusal::new(StatusCode::PAYMENT_REQUIRED, "qila_budget", message),
            },
            Unreserved::Book(_) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "qila_budget", message),
        }
    }

    /// A call whose cost has no bound, where one is asked for.
    pub(crate) fn unbounded(why: &str) -> Refusal {
        let message = format!("a budget counts tokens or money, and this call has no bound: {why}");
        Refusal::new(StatusCode::PAYMENT_REQUIRED, "qila_budget", message)
    }

    /// A placeholder went where it has no business.
    pub(crate) fn violation(what: &str) -> Refusal {
        let message = format!("violation: {what}; a credential is placed only where the policy names it");
        Refusal::new(StatusCode::FORBIDDEN, "qila_violation", message)
    }

    /// A placeholder that could not be swapped.
    pub(crate) fn misplaced(what: Misplaced) -> Refusal {
        match what {
            Misplaced::Violation(what) => Refusal::violation(what),
            Misplaced::Gone(why) => Refusal::new(StatusCode::FORBIDDEN, "qila_credential", why),
        }
    }

    /// A proxy's password is missing or wrong.
    pub(crate) fn no_key() -> Refusal {
        Refusal::new(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "qila_password", NO_KEY)
    }

    /// The log does not answer.
    pub(crate) fn unrecorded() -> Refusal {
        let message = "the evidence log does not answer, and nothing happens unrecorded";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "qila_unrecorded", message)
    }

    /// The upstream did not answer as it should.
    pub(crate) fn upstream(what: &impl std::fmt::Display) -> Refusal {
        Refusal::new(StatusCode::BAD_GATEWAY, "qila_upstream", what.to_string())
    }

    /// As the log keeps it.
    pub(crate) fn decision(&self, access: Access) -> Decision {
        denied(access, self.message.clone())
    }

    fn body(self) -> String {
        let mut error = serde_json::json!({"type": self.kind, "message": self.message});
        if let (Some(ask), Some(object)) = (self.ask, error.as_object_mut()) {
            object.insert("ask_for".into(), *ask);
        }
        serde_json::json!({"error": error}).to_string()
    }

    /// As the agent gets it where there is no library to write it.
    pub(crate) fn text(self) -> String {
        let status = self.status;
        let body = self.body();
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// As a client of gRPC's gets it: a status of its own in a response without a body, which every library shows.
    pub(crate) fn grpc(self) -> Response<OutBody> {
        let code = match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYMENT_REQUIRED => "8", // RESOURCE_EXHAUSTED
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => "14",   // UNAVAILABLE
            StatusCode::BAD_REQUEST => "3",                                      // INVALID_ARGUMENT
            _ => "7",                                                            // PERMISSION_DENIED
        };
        let message: String = self
            .message
            .bytes()
            .take(MAX_MESSAGE)
            .map(|b| match b {
                b' '..=b'~' if b != b'%' => char::from(b).to_string(),
                _ => format!("%{b:02X}"),
            })
            .collect();
        let mut response = Response::new(OutBody::none());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static(code));
        if let Ok(message) = HeaderValue::from_str(&message) {
            headers.insert("grpc-message", message);
        }
        response
    }

    /// As the agent gets it. A connection of HTTP/1's ends: what is left of the request is not read.
    pub(crate) fn response(self, agent: Speaks) -> Response<OutBody> {
        let (status, retry) = (self.status, self.retry);
        let mut response = Response::new(OutBody::text(self.body()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if agent == Speaks::Http1 {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            headers.insert(header::PROXY_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if let Some(seconds) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
