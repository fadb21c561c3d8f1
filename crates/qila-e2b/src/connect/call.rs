//! What the head of a call says about it.
use super::codec::Codec;
use super::{Code, Fault};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use std::time::Duration;
use tokio::time::Instant;

/// Longest deadline that is kept; a longer one is this.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
/// Between two signs of life on a stream, unless the client says otherwise.
const KEEPALIVE: Duration = Duration::from_secs(90);
const KEEPALIVE_HEADER: &str = "keepalive-ping-interval";

/// What the head of a call says about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub codec: Codec,
    /// When the client gives up, if it said so.
    pub deadline: Option<Instant>,
    /// Between two signs of life on a stream.
    pub keepalive: Duration,
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

impl Call {
    /// Reads the head. `streamed`: the envelopes of a stream are expected.
    pub(crate) fn read(headers: &HeaderMap, streamed: bool) -> Result<Call, Box<Response>> {
        let kind = text(headers, "content-type").unwrap_or("");
        let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        let codec = match (kind.as_str(), streamed) {
            ("application/json", false) | ("application/connect+json", true) => Codec::Json,
            ("application/proto", false) | ("application/connect+proto", true) => Codec::Proto,
            _ => return Err(Box::new(unsupported(streamed))),
        };
        let call = Call {
            codec,
            deadline: None,
            keepalive: KEEPALIVE,
        };
        call.heed(headers, streamed)
            .map_err(|fault| Box::new(call.refuse(fault, streamed)))
    }

    fn heed(mut self, headers: &HeaderMap, streamed: bool) -> Result<Call, Fault> {
        if headers.get("connect-protocol-version").is_some_and(|v| v != "1") {
            return Err(Fault::invalid("the version of the protocol is 1"));
        }
        let coding = if streamed {
            "connect-content-encoding"
        } else {
            "content-encoding"
        };
        if headers
            .get(coding)
            .is_some_and(|v| v != "identity" && !v.is_empty())
        {
            return Err(Fault::new(
                Code::Unimplemented,
                "compressed messages are not read; `identity` is",
            ));
        }
        if headers.contains_key("connect-timeout-ms") {
            let ms = text(headers, "connect-timeout-ms").filter(|t| (1..=10).contains(&t.len()));
            let ms = ms
                .filter(|t| t.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|t| t.parse().ok());
            let ms = ms.ok_or_else(|| Fault::invalid("`Connect-Timeout-Ms` has one to ten digits"))?;
            self.deadline = Some(Instant::now() + Duration::from_millis(ms).min(LONGEST));
        }
        if headers.contains_key(KEEPALIVE_HEADER) {
            let seconds = text(headers, KEEPALIVE_HEADER).and_then(|t| t.parse().ok());
            let seconds: u32 = seconds
                .filter(|s| (1..=3600).contains(s))
                .ok_or_else(|| Fault::invalid("`Keepalive-Ping-Interval` is 1 to 3600 seconds"))?;
            self.keepalive = Duration::from_secs(u64::from(seconds));
        }
        Ok(self)
    }

    /// Says no before the call has begun.
    pub(crate) fn refuse(self, fault: Fault, streamed: bool) -> Response {
        if streamed {
            super::downstream::ended(self.codec, &fault)
        } else {
            fault.into_response()
        }
    }
}

fn unsupported(streamed: bool) -> Response {
    let accepted = match streamed {
        true => "application/connect+json, application/connect+proto",
        false => "application/json, application/proto",
    };
    (StatusCode::UNSUPPORTED_MEDIA_TYPE, [(header::ACCEPT, accepted)]).into_response()
}
