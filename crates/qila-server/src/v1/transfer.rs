//! Bytes of files, in and out, as streams.
use super::file::EntryView;
use crate::app::App;
use crate::body::{Asked, At, Sandbox};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::{HeaderValue, header};
use qila_api::Writer;
use serde::Deserialize;
use std::io;
use tokio_util::io::{ReaderStream, StreamReader};
use utoipa::IntoParams;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;
/// Permission bits that a file may be given.
const MODE: u32 = 0o777;

/// A file, and where to begin.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadQuery {
    /// A path inside; a relative one begins at the sandbox's home.
    path: String,
    /// The first byte that is wanted; 0 if absent.
    offset: Option<u64>,
}

/// Read a regular file. Header `Qila-File-Size` is its size; an answer that breaks off is not the whole file.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/files", tag = "files", params(("sandbox" = String, Path), ReadQuery),
    responses((status = 200, description = "Its bytes", content_type = "application/octet-stream"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn read(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Asked(query): Asked<ReadQuery>,
) -> Result<Response, Problem> {
    let begun = app
        .node
        .read(&who.tenant, &id, &query.path, query.offset.unwrap_or(0));
    let reader = match tokio::time::timeout(app.limits.request, begun).await {
        Ok(reader) => reader?,
        Err(_) => return Err(Problem::timeout("the file could not be opened in time")),
    };
    let mut response = Body::from_stream(ReaderStream::with_capacity(reader.bytes, PIECE)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    // What a sandbox wrote must never be shown as a page of this server.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment"),
    );
    headers.insert("qila-file-size", HeaderValue::from(reader.entry.size));
    Ok(response)
}

/// A file that is to be written.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteQuery {
    /// A path inside; a relative one begins at the sandbox's home.
    path: String,
    /// Permission bits in octal digits, `755` for instance; absent: those of a usual new file.
    mode: Option<String>,
}

/// Write a file as a whole: it is there with all of its bytes, or as it was before. Directories above it are made.
#[utoipa::path(put, path = "/v1/sandboxes/{sandbox}/files", tag = "files", params(("sandbox" = String, Path), WriteQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = EntryView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn write(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Asked(query): Asked<WriteQuery>,
    request: Request,
) -> Result<Json<EntryView>, Problem> {
    let mode = match query.mode {
        None => None,
        Some(digits) => {
            let mode = u32::from_str_radix(&digits, 8).ok().filter(|m| *m <= MODE);
            Some(mode.ok_or_else(|| Problem::invalid("mode: not from 0 to 777 in octal digits"))?)
        }
    };
    let idle = app.limits.idle;
    let pieces = futures_util::stream::unfold(
        Some(request.into_body().into_data_stream()),
        move |body| async move {
            let mut body = body?;
            match tokio::time::timeout(idle, body.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(piece))) => Some((Ok(piece), Some(body))),
                Ok(Some(Err(error))) => Some((Err(io::Error::other(error)), None)),
                Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
            }
        },
    );
    let bytes: Writer = Box::pin(StreamReader::new(Box::pin(pieces)));
    Ok(Json(
        app.node
            .write(&who.tenant, &id, &query.path, mode, bytes)
            .await?
            .into(),
    ))
}
