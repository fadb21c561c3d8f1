//! How a connection becomes a WebSocket.
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode, Version};
use sha1::{Digest, Sha1};

/// Most subprotocols of one offer.
pub const MAX_PROTOCOLS: usize = 32;

/// What the accept value is made with (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why a handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not GET over HTTP/1.1, or not an extended CONNECT over HTTP/2.
    #[error("a WebSocket handshake by another method or HTTP version")]
    Method,
    /// `Upgrade` is not `websocket` alone, or `Connection` does not name it.
    #[error("a WebSocket handshake without `Upgrade: websocket` and `Connection: upgrade`")]
    Upgrade,
    /// Not one key of 16 bytes in base64.
    #[error("a WebSocket handshake without one valid Sec-WebSocket-Key")]
    Key,
    /// Not version 13.
    #[error("a WebSocket handshake for a version other than 13")]
    Version,
    /// Subprotocols that are no words, twice the same, or too many.
    #[error("a WebSocket handshake with a bad list of subprotocols")]
    Protocols,
    /// A request with a body.
    #[error("a WebSocket handshake with a body")]
    Body,
    /// The server's status is not the one that switches.
    #[error("a WebSocket handshake that the server answered with {0}")]
    Status(StatusCode),
    /// The server's accept value is not that of the key.
    #[error("a WebSocket handshake whose Sec-WebSocket-Accept does not fit the key")]
    Accept,
    /// The server chose an extension, though none was offered to it.
    #[error("a WebSocket extension that was not offered")]
    Extension,
    /// The server chose a subprotocol that was not offered.
    #[error("a WebSocket subprotocol that was not offered")]
    Protocol,
}

/// What the client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    key: Option<String>,
    protocols: Vec<String>,
}

impl Offer {
    /// The subprotocols, in the order of the client's liking.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }
}

/// Checks a request over HTTP/1.1 and takes the extensions out of it.
pub fn request(method: &Method, version: Version, headers: &mut HeaderMap) -> Result<Offer, HandshakeError> {
    if method != Method::GET || version != Version::HTTP_11 {
        return Err(HandshakeError::Method);
    }
    upgrade(headers)?;
    let length = headers.get(CONTENT_LENGTH).is_some_and(|value| value != "0");
    if length || headers.contains_key(TRANSFER_ENCODING) {
        return Err(HandshakeError::Body);
    }
    let key = one(headers, &SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
    match BASE64_STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => {}
        _ => return Err(HandshakeError::Key),
    }
    let key = Some(key.to_owned());
    offer(key, headers)
}

/// Checks an extended CONNECT over HTTP/2, whose `:protocol` was found to be `websocket`, and takes the extensions out of it.
pub fn connect(method: &Method, version: Version, headers: &mut HeaderMap) -> Result<Offer, HandshakeError> {
    if method != Method::CONNECT || version != Version::HTTP_2 {
        return Err(HandshakeError::Method);
    }
    let own = [UPGRADE, CONNECTION, SEC_WEBSOCKET_KEY];
    if own.iter().any(|name| headers.contains_key(name)) {
        return Err(HandshakeError::Upgrade);
    }
    offer(None, headers)
}

/// Checks the answer over HTTP/1.1; answers the subprotocol that the server chose.
pub fn response(
    offer: &Offer,
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<Option<String>, HandshakeError> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(HandshakeError::Status(status));
    }
    upgrade(headers)?;
    let wanted = offer.key.as_deref().map(accept);
    if wanted.as_deref() != one(headers, &SEC_WEBSOCKET_ACCEPT) {
        return Err(HandshakeError::Accept);
    }
    // Without meaning in this answer (RFC 9110, 8.6), and not to be misread by the next reader.
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    chosen(offer, headers)
}

/// Checks the answer over HTTP/2; answers the subprotocol that the server chose.
pub fn connected(
    offer: &Offer,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<String>, HandshakeError> {
    if !status.is_success() {
        return Err(HandshakeError::Status(status));
    }
    chosen(offer, headers)
}

/// The value of `Sec-WebSocket-Accept` for a key.
pub fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    BASE64_STANDARD.encode(hash.finalize())
}

/// The value of a field that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(|value| value.trim_matches([' ', '\t'])),
        _ => None,
    }
}

fn upgrade(headers: &HeaderMap) -> Result<(), HandshakeError> {
    let websocket = one(headers, &UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let named = headers.get_all(CONNECTION).iter().any(|value| {
        let words = value.to_str().unwrap_or_default().split(',');
        let mut words = words.map(|word| word.trim_matches([' ', '\t']));
        words.any(|word| word.eq_ignore_ascii_case("upgrade"))
    });
    if websocket && named {
        Ok(())
    } else {
        Err(HandshakeError::Upgrade)
    }
}

fn offer(key: Option<String>, headers: &mut HeaderMap) -> Result<Offer, HandshakeError> {
    if one(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(HandshakeError::Version);
    }
    let mut protocols: Vec<String> = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        for word in value.to_str().map_err(|_| HandshakeError::Protocols)?.split(',') {
            let word = word.trim_matches([' ', '\t']);
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            let fresh = !protocols.iter().any(|known| known == word);
            if word.is_empty() || !word.bytes().all(token) || !fresh || protocols.len() >= MAX_PROTOCOLS {
                return Err(HandshakeError::Protocols);
            }
            protocols.push(word.to_owned());
        }
    }
    headers.remove(SEC_WEBSOCKET_EXTENSIONS);
    Ok(Offer { key, protocols })
}

fn chosen(offer: &Offer, headers: &HeaderMap) -> Result<Option<String>, HandshakeError> {
    if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(HandshakeError::Extension);
    }
    if !headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return Ok(None);
    }
    let chosen = one(headers, &SEC_WEBSOCKET_PROTOCOL).ok_or(HandshakeError::Protocol)?;
    let mut known = offer.protocols.iter();
    let known = known
        .find(|known| *known == chosen)
        .ok_or(HandshakeError::Protocol)?;
    Ok(Some(known.clone()))
}
