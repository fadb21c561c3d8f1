//! `POST /files`: files as a form or as bytes.
use super::access::{Access, admit};
use super::download::Query;
use super::{Envd, entry, multipart, plain};
use crate::secret::Operation;
use async_compression::tokio::bufread::GzipDecoder;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, Request, StatusCode, header};
use qila_api::{ApiError, Entry, Result, Writer};
use serde::Serialize;
use std::io;
use std::time::Duration;
use tokio::io::BufReader;
use tokio_util::io::StreamReader;

/// How long a body may stand still.
const IDLE: Duration = Duration::from_secs(60);

/// A file that was written.
#[derive(Debug, Serialize)]
pub(super) struct Written {
    path: String,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl From<Entry> for Written {
    fn from(entry: Entry) -> Written {
        Written {
            path: entry.path,
            name: entry.name,
            kind: "file",
        }
    }
}

pub(super) async fn upload(State(envd): State<Envd>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let query = match Query::read(&parts) {
        Ok(query) => query,
        Err(why) => return plain::say(StatusCode::BAD_REQUEST, why).into_response(),
    };
    let access = match admit(&envd, &parts, Some(&query.signed(Operation::Write))).await {
        Ok(access) => access,
        Err(response) => return *response,
    };
    if let Some(response) = query.stranger() {
        return response;
    }
    if parts
        .headers
        .keys()
        .any(|name| name.as_str().starts_with("x-metadata-"))
    {
        let what = "metadata of files is not kept: send no `X-Metadata-` header";
        return plain::say(StatusCode::BAD_REQUEST, what).into_response();
    }
    let body = match unpacked(&parts.headers, body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    let kind = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    let written = if kind.to_ascii_lowercase().starts_with("multipart/form-data") {
        multipart::write(&access, kind, query.path.as_deref(), body).await
    } else if kind.is_empty() || kind.to_ascii_lowercase().starts_with("application/octet-stream") {
        match query.path.as_deref() {
            Some(path) if !path.is_empty() => {
                write(&access, path, body).await.map(|entry| vec![entry.into()])
            }
            _ => Err(ApiError::invalid("the `path` of the file is needed")),
        }
    } else {
        let what = "files are sent as multipart/form-data or application/octet-stream";
        return plain::say(StatusCode::UNSUPPORTED_MEDIA_TYPE, what).into_response();
    };
    match written {
        Ok(written) => Json(written).into_response(),
        Err(e) => plain::error(&access.explain(e).await),
    }
}

/// Writes one file.
pub(super) async fn write(access: &Access, path: &str, bytes: Writer) -> Result<Entry> {
    let path = entry::path(path).map_err(ApiError::invalid)?;
    access
        .node()
        .write(&access.tenant, &access.id, path, None, bytes)
        .await
}

/// The same, which fails when it stands still.
fn moving(
    stream: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    idle: Duration,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::unfold(Some(stream), move |stream| async move {
        let mut stream = stream?;
        match tokio::time::timeout(idle, stream.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(stream))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}

/// The body as it was before it was packed.
fn unpacked(headers: &HeaderMap, body: Body) -> std::result::Result<Writer, Box<Response>> {
    let stream = body
        .into_data_stream()
        .map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted));
    let reader = StreamReader::new(Box::pin(moving(stream, IDLE)));
    match headers
        .get(header::CONTENT_ENCODING)
        .map(|v| v.to_str().unwrap_or("?"))
    {
        None | Some("" | "identity") => Ok(Box::pin(reader)),
        // Piece by piece: what a small body becomes meets the sandbox's disk limit, not the memory here.
        Some("gzip") => Ok(Box::pin(GzipDecoder::new(BufReader::new(reader)))),
        Some(_) => {
            let what = "the encodings of a body are identity and gzip";
            Err(Box::new(
                plain::say(StatusCode::UNSUPPORTED_MEDIA_TYPE, what).into_response(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_stands_still_fails() {
        let (give, take) = tokio::sync::mpsc::channel(1);
        let pieces = futures_util::stream::unfold(take, async |mut take: tokio::sync::mpsc::Receiver<_>| {
            Some((Ok(take.recv().await?), take))
        });
        let mut moving = Box::pin(moving(Box::pin(pieces), Duration::from_millis(50)));
        give.send(Bytes::from_static(b"a")).await.unwrap();
        assert_eq!(moving.next().await.unwrap().unwrap(), "a");
        let error = moving.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(moving.next().await.is_none());
    }
}
