//! What happens, as server-sent events: to the tenant's sandboxes, and to files.
use super::stream::{PULSE, last_event_id};
use crate::app::App;
use crate::body::{Asked, At, Sandbox};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::HeaderMap;
use qila_api::{Change, FileEvent};
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use tokio::sync::mpsc::Receiver;
use utoipa::IntoParams;

/// From where on.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// After the event of this number, as far back as they are kept; absent: from now on.
    after: Option<u64>,
}

/// Listen to what happens to your sandboxes. The id of an event is its number; a header `Last-Event-ID` says after which.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(EventsQuery),
    responses((status = 200, description = "Events", content_type = "text/event-stream"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn events(
    State(app): State<App>,
    Caller(who): Caller,
    Asked(query): Asked<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = last_event_id(&headers)?.or(query.after);
    let events = app.node.events(&who.tenant, after).await?;
    Ok(sse(app, events, |e| {
        let data = json!({
            "seq": e.seq, "time_ms": e.time_ms, "sandbox": e.sandbox.as_str(), "kind": e.kind, "fields": e.fields,
        });
        Event::default()
            .event("sandbox")
            .id(e.seq.to_string())
            .data(data.to_string())
    }))
}

/// A directory under watch.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WatchQuery {
    /// A directory inside; a relative one begins at the sandbox's home.
    path: String,
    /// Whether what is beneath its directories counts, too.
    recursive: Option<bool>,
}

/// Listen to what happens in a directory. The stream ends when it, or the sandbox, is gone, or when its client reads too slowly.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/files/watch", tag = "files", params(("sandbox" = String, Path), WatchQuery),
    responses((status = 200, description = "Events", content_type = "text/event-stream"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn watch(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Asked(query): Asked<WatchQuery>,
) -> Result<Response, Problem> {
    let watch = app
        .node
        .watch(&who.tenant, &id, &query.path, query.recursive.unwrap_or(false))
        .await?;
    Ok(sse(app, watch.events, |e: FileEvent| {
        let change = match e.change {
            Change::Create => "create",
            Change::Write => "write",
            Change::Remove => "remove",
            Change::Rename => "rename",
            Change::Chmod => "chmod",
        };
        Event::default()
            .event("file")
            .data(json!({"name": e.name, "change": change}).to_string())
    }))
}

/// A stream that ends with its source, or when the server is to end.
fn sse<T: Send + 'static>(app: App, source: Receiver<T>, show: fn(T) -> Event) -> Response {
    let events = stream::unfold((app, source), move |(app, mut source)| async move {
        let next = tokio::select! {
            next = source.recv() => next?,
            () = app.ending.cancelled() => return None,
        };
        Some((Ok::<_, Infallible>(show(next)), (app, source)))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::new().interval(PULSE))
        .into_response()
}
