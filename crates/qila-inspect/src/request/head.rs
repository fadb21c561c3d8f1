//! The head as a library parsed it.
use super::authority::{self, Host};
use super::{HeadError, MAX_HEAD, MAX_HEADERS, Protocol, hop, is_bad, is_length};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Uri, Version};
use std::fmt;

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Who it is for.
    pub host: Host,
    /// The port, where the request names one.
    pub port: Option<u16>,
    /// How the target is written.
    pub form: Form,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => self.host.fmt(f),
        }
    }
}

/// How a request target is written (RFC 9112, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A path.
    Origin,
    /// A whole `http` address, as sent to a proxy.
    Http,
    /// A whole `https` address.
    Https,
    /// `host:port`, of CONNECT.
    Authority,
    /// `*`, of OPTIONS.
    Asterisk,
}

impl Form {
    /// The port that is meant where none is written; none where the connection tells.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Form::Http => Some(80),
            Form::Https => Some(443),
            Form::Origin | Form::Authority | Form::Asterisk => None,
        }
    }
}

/// Fields of a connection, which HTTP/2 has frames for (RFC 9113, 8.2.2).
const FRAMED: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Checks a parsed head, of HTTP/1 or HTTP/2, and finds whom it is for.
pub fn check_head(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    version: Version,
) -> Result<Target, HeadError> {
    if !matches!(version, Version::HTTP_10 | Version::HTTP_11 | Version::HTTP_2) {
        return Err(HeadError::Version);
    }
    if version == Version::HTTP_2 && FRAMED.iter().any(|name| headers.contains_key(*name)) {
        return Err(HeadError::Hop);
    }
    sizes(uri, headers)?;
    lengths(headers, version)?;
    let target = target(method, uri, headers, version)?;
    if *method == Method::TRACE {
        return Err(HeadError::Trace);
    }
    if *method == Method::CONNECT {
        return Err(HeadError::Connect(Box::new(target)));
    }
    connection(headers)?;
    Ok(target)
}

fn sizes(uri: &Uri, headers: &HeaderMap) -> Result<(), HeadError> {
    if headers.len() > MAX_HEADERS {
        return Err(HeadError::TooManyHeaders);
    }
    let authority = uri.authority().map_or(0, |a| a.as_str().len());
    let target = authority + uri.path_and_query().map_or(0, |p| p.as_str().len());
    let fields = headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len() + 4)
        .sum::<usize>();
    if target + fields > MAX_HEAD {
        return Err(HeadError::TooLarge);
    }
    if headers.values().any(|v| v.as_bytes().iter().copied().any(is_bad)) {
        return Err(HeadError::BadByte);
    }
    Ok(())
}

fn lengths(headers: &HeaderMap, version: Version) -> Result<(), HeadError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let (length, encoding) = (lengths.next(), encodings.next());
    // Some servers read an underscore as a dash; these would reach them as they are.
    if headers.contains_key("content_length") {
        return Err(HeadError::BadContentLength);
    }
    if headers.contains_key("transfer_encoding") {
        return Err(HeadError::BadTransferEncoding);
    }
    if length.is_some() && encoding.is_some() {
        return Err(HeadError::BothLengths);
    }
    if lengths.next().is_some() || length.is_some_and(|v| !is_length(v.as_bytes())) {
        return Err(HeadError::BadContentLength);
    }
    if let Some(value) = encoding
        && (value.as_bytes() != b"chunked" || encodings.next().is_some() || version == Version::HTTP_10)
    {
        return Err(HeadError::BadTransferEncoding);
    }
    Ok(())
}

fn target(method: &Method, uri: &Uri, headers: &HeaderMap, version: Version) -> Result<Target, HeadError> {
    let mut hosts = headers.get_all(HOST).iter();
    let field = match (hosts.next(), uri.authority()) {
        (Some(field), _) => field.as_bytes(),
        // In HTTP/2 the authority is a field of its own and Host may be left out.
        (None, Some(named)) if version == Version::HTTP_2 => named.as_str().as_bytes(),
        (None, _) => return Err(HeadError::NoHost),
    };
    if hosts.next().is_some() {
        return Err(HeadError::SeveralHosts);
    }
    let field = authority::parse(field)?;
    let connect = *method == Method::CONNECT;
    let form = match (uri.scheme_str(), uri.authority()) {
        (None, None) if connect => return Err(HeadError::BadTarget),
        (None, None) if uri.path() == "*" && *method == Method::OPTIONS => Form::Asterisk,
        (None, None) if uri.path().starts_with('/') => Form::Origin,
        (None, Some(_)) if connect => Form::Authority,
        (Some("http"), Some(_)) if !connect => Form::Http,
        (Some("https"), Some(_)) if !connect => Form::Https,
        _ => return Err(HeadError::BadTarget),
    };
    let Some(named) = uri.authority() else {
        return Ok(Target {
            host: field.0,
            port: field.1,
            form,
        });
    };
    let named = authority::parse(named.as_str().as_bytes())?;
    // A CONNECT always says the port; its Host field may leave it out.
    let default = if connect { named.1 } else { form.default_port() };
    if connect && named.1.is_none() {
        return Err(HeadError::BadTarget);
    }
    if !authority::agree(&named, &field, default) {
        return Err(HeadError::HostMismatch);
    }
    Ok(Target {
        host: named.0,
        port: named.1.or(default),
        form,
    })
}

fn connection(headers: &HeaderMap) -> Result<(), HeadError> {
    let mut asks = headers.contains_key(UPGRADE);
    for name in headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|v| hop::tokens(v.as_bytes()))
    {
        asks |= name.eq_ignore_ascii_case(b"upgrade");
        if !hop::may_be_named(name) {
            return Err(HeadError::Nominated);
        }
    }
    if !asks {
        return Ok(());
    }
    let mut wanted = headers
        .get_all(UPGRADE)
        .iter()
        .map(|v| v.as_bytes().to_ascii_lowercase());
    Err(HeadError::Upgrade(
        match (wanted.next().as_deref(), wanted.next()) {
            (Some(b"websocket"), None) => Protocol::WebSocket,
            (Some(b"h2c"), None) => Protocol::H2c,
            _ => Protocol::Other,
        },
    ))
}
