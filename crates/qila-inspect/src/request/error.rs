//! Why a head is refused.
use super::{MAX_HEAD, MAX_HEADERS, Target};
use http::StatusCode;
use std::fmt;

/// Why [`check_head`](super::check_head) refuses a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Neither HTTP/1.0 nor HTTP/1.1 nor HTTP/2.
    #[error("only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here")]
    Version,
    /// More than [`MAX_HEADERS`] fields.
    #[error("more than {MAX_HEADERS} header fields")]
    TooManyHeaders,
    /// More than [`MAX_HEAD`] bytes.
    #[error("a head over {} KiB", MAX_HEAD / 1024)]
    TooLarge,
    /// A control byte in a header field.
    #[error("a control byte in a header field")]
    BadByte,
    /// A target that fits neither the method nor HTTP.
    #[error("a request target that is neither a path nor a http or https address")]
    BadTarget,
    /// No Host field.
    #[error("no Host field")]
    NoHost,
    /// Several Host fields.
    #[error("more than one Host field")]
    SeveralHosts,
    /// A host that is neither a name nor a plainly written address.
    #[error("a host that is neither a name nor a plainly written address")]
    BadHost,
    /// A user name or password in the host.
    #[error("a user name or password in front of the host")]
    Userinfo,
    /// The target names another host or port than the Host field.
    #[error("the request target and the Host field name different hosts")]
    HostMismatch,
    /// Both Content-Length and Transfer-Encoding.
    #[error("both Content-Length and Transfer-Encoding")]
    BothLengths,
    /// A Content-Length that is not one plain number.
    #[error("a Content-Length that is not one plain number")]
    BadContentLength,
    /// A Transfer-Encoding other than `chunked`, or in HTTP/1.0.
    #[error("a Transfer-Encoding other than `chunked`, or in HTTP/1.0")]
    BadTransferEncoding,
    /// Connection names a field that is not between two hops.
    #[error("the Connection field names a field that must reach the server")]
    Nominated,
    /// A field of an HTTP/1 connection in HTTP/2.
    #[error("a field of an HTTP/1 connection in an HTTP/2 request")]
    Hop,
    /// A wish to go on in another protocol.
    #[error("{0} is not carried yet")]
    Upgrade(Protocol),
    /// TRACE, which would echo the credential.
    #[error("TRACE is refused: it echoes what was sent, a credential included")]
    Trace,
    /// CONNECT, well-formed, to this target. No proxy is needed here: connections are taken as they come.
    #[error("CONNECT is refused: connect to {0} directly")]
    Connect(Box<Target>),
}

impl HeadError {
    /// The status to answer with.
    pub fn status(&self) -> StatusCode {
        match self {
            HeadError::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            HeadError::TooManyHeaders | HeadError::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            HeadError::HostMismatch => StatusCode::MISDIRECTED_REQUEST,
            HeadError::Upgrade(_) => StatusCode::NOT_IMPLEMENTED,
            HeadError::Trace | HeadError::Connect(_) => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Which protocol an Upgrade field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// WebSocket.
    WebSocket,
    /// HTTP/2 without TLS.
    H2c,
    /// Any other, or several.
    Other,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::WebSocket => "WebSocket",
            Protocol::H2c => "HTTP/2 without TLS (h2c)",
            Protocol::Other => "a protocol other than HTTP/1",
        })
    }
}
