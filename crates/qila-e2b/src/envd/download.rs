//! `GET /files`: a file's bytes.
use super::access::admit;
use super::{Envd, entry, plain, user};
use crate::secret::{Operation, Signed};
use async_compression::tokio::bufread::GzipEncoder;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use qila_api::EntryKind;
use std::io;
use std::pin::Pin;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

/// Bytes of one piece.
const PIECE: usize = 64 << 10;

/// What the query of a request for files says.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub path: Option<String>,
    pub username: Option<String>,
    signature: Option<String>,
    expires: Option<i64>,
}

impl Query {
    /// Reads it. What is not known is passed over.
    pub(super) fn read(parts: &Parts) -> Result<Query, &'static str> {
        let mut query = Query::default();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()) {
            let place = match &*name {
                "path" => &mut query.path,
                "username" => &mut query.username,
                "signature" => &mut query.signature,
                "signature_expiration" => {
                    query.expires = Some(
                        value
                            .parse()
                            .map_err(|_| "`signature_expiration` is a number of seconds")?,
                    );
                    continue;
                }
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err("a parameter is there twice");
            }
        }
        Ok(query)
    }

    pub(super) fn signed(&self, operation: Operation) -> Signed<'_> {
        Signed {
            operation,
            path: self.path.as_deref().unwrap_or(""),
            user: self.username.as_deref().unwrap_or(""),
            expires: self.expires,
            signature: self.signature.as_deref().unwrap_or(""),
        }
    }

    /// A user that there is not, if one is named.
    pub(super) fn stranger(&self) -> Option<Response> {
        let name = self.username.as_deref().filter(|n| !user::is_known(n))?;
        let what = format!("there is no user `{}`", name.escape_debug());
        Some(plain::say(StatusCode::UNAUTHORIZED, &what).into_response())
    }
}

pub(super) async fn download(State(envd): State<Envd>, parts: Parts) -> Response {
    let query = match Query::read(&parts) {
        Ok(query) => query,
        Err(why) => return plain::say(StatusCode::BAD_REQUEST, why).into_response(),
    };
    let access = match admit(&envd, &parts, Some(&query.signed(Operation::Read))).await {
        Ok(access) => access,
        Err(response) => return *response,
    };
    if let Some(response) = query.stranger() {
        return response;
    }
    let path = match entry::path(query.path.as_deref().unwrap_or("")) {
        Ok(path) => path,
        Err(why) => return plain::say(StatusCode::BAD_REQUEST, &why).into_response(),
    };
    let found = access.node().stat(&access.tenant, &access.id, path).await;
    if let Ok(entry) = &found
        && [Some(entry.kind), entry.target_kind].contains(&Some(EntryKind::Directory))
    {
        let what = format!("path '{}' is a directory", path.escape_debug());
        return plain::say(StatusCode::BAD_REQUEST, &what).into_response();
    }
    let reader = match found {
        Ok(_) => access.node().read(&access.tenant, &access.id, path, 0).await,
        Err(e) => Err(e),
    };
    let reader = match reader {
        Ok(reader) => reader,
        Err(e) => return plain::error(&access.explain(e).await),
    };
    let (size, name) = (reader.entry.size, reader.entry.name.clone());
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(disposition) = HeaderValue::from_str(&disposition(&name)) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    if wants_gzip(&parts.headers) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let packed = GzipEncoder::new(BufReader::new(reader.bytes));
        return (headers, body(Box::pin(packed), None)).into_response();
    }
    // What the kernel makes up while it is read says that it has no bytes.
    let size = Some(size).filter(|s| *s > 0);
    if let Some(size) = size {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    (headers, body(reader.bytes, size)).into_response()
}

/// Only who asks for nothing else gets it packed: it costs more than it saves on a local network.
fn wants_gzip(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    wanted.is_some_and(|w| w.trim().eq_ignore_ascii_case("gzip"))
}

fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !"\"\\%".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let exact = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    format!("inline; filename=\"{plain}\"; filename*=UTF-8''{exact}")
}

/// A body from a reader; with a size, no more and no less than that, or it breaks off.
fn body(bytes: Pin<Box<dyn AsyncRead + Send>>, size: Option<u64>) -> Body {
    Body::from_stream(stream::unfold(Some((bytes, size)), async |state| {
        let (mut bytes, left) = state?;
        let want = left.map_or(PIECE, |left| usize::try_from(left).unwrap_or(PIECE).min(PIECE));
        if want == 0 {
            return None;
        }
        let mut piece = bytes::BytesMut::with_capacity(want);
        match (&mut bytes).take(want as u64).read_buf(&mut piece).await {
            Ok(0) if left.is_some() => Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None)),
            Ok(0) => None,
            Ok(n) => Some((
                Ok(piece.freeze()),
                Some((bytes, left.map(|left| left.saturating_sub(n as u64)))),
            )),
            Err(e) => Some((Err(e), None)),
        }
    }))
}
