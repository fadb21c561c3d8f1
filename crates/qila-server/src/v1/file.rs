//! Files of a sandbox, other than their bytes.
use crate::app::App;
use crate::body::{Asked, At, Body, Sandbox};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qila_api::{Entry, EntryKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Levels that one list goes down at most.
const DEEPEST: u32 = 64;

/// What an entry of a directory is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryKindView {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A socket, a pipe or a device.
    Other,
}

impl From<EntryKind> for EntryKindView {
    fn from(kind: EntryKind) -> EntryKindView {
        match kind {
            EntryKind::File => EntryKindView::File,
            EntryKind::Directory => EntryKindView::Directory,
            EntryKind::Link => EntryKindView::Link,
            EntryKind::Other => EntryKindView::Other,
        }
    }
}

/// What is at a path.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub(crate) struct EntryView {
    /// Its name, the last part of its path.
    name: String,
    /// Its absolute path inside.
    path: String,
    /// What it is.
    kind: EntryKindView,
    /// What it is behind the link, if it is one and leads somewhere.
    target_kind: Option<EntryKindView>,
    /// Where the link points, if it is one.
    target: Option<String>,
    /// Bytes.
    size: u64,
    /// Permission bits.
    mode: u32,
    /// Name of its owner.
    owner: String,
    /// Name of its group.
    group: String,
    /// When it was changed last, in Unix milliseconds.
    modified_ms: i64,
}

impl From<Entry> for EntryView {
    fn from(e: Entry) -> EntryView {
        EntryView {
            name: e.name,
            path: e.path,
            kind: e.kind.into(),
            target_kind: e.target_kind.map(Into::into),
            target: e.target,
            size: e.size,
            mode: e.mode,
            owner: e.owner,
            group: e.group,
            modified_ms: e.modified_ms,
        }
    }
}

/// A path.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PathQuery {
    /// A path inside; a relative one begins at the sandbox's home.
    path: String,
}

/// Say what is at a path.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/files/stat", tag = "files", params(("sandbox" = String, Path), PathQuery),
    responses((status = 200, body = EntryView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn stat(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Asked(query): Asked<PathQuery>,
) -> Result<Json<EntryView>, Problem> {
    Ok(Json(app.node.stat(&who.tenant, &id, &query.path).await?.into()))
}

/// A directory, and how far down.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DirQuery {
    /// A directory inside; absent: the sandbox's home.
    path: Option<String>,
    /// So many levels, from 1 to 64; 1 if absent.
    #[param(minimum = 1, maximum = 64)]
    depth: Option<u32>,
}

/// List a directory, sorted by path.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/files/list", tag = "files", params(("sandbox" = String, Path), DirQuery),
    responses((status = 200, body = Vec<EntryView>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Asked(query): Asked<DirQuery>,
) -> Result<Json<Vec<EntryView>>, Problem> {
    let depth = query.depth.unwrap_or(1);
    if !(1..=DEEPEST).contains(&depth) {
        return Err(Problem::invalid(format!(
            "depth: {depth} is not from 1 to {DEEPEST}"
        )));
    }
    let path = query.path.as_deref().unwrap_or(".");
    let all = app.node.read_dir(&who.tenant, &id, path, depth).await?;
    Ok(Json(all.into_iter().map(EntryView::from).collect()))
}

/// A path.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathBody {
    /// A path inside; a relative one begins at the sandbox's home.
    path: String,
}

/// Make a directory, and those above it.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/files/mkdir", tag = "files", params(("sandbox" = String, Path)),
    request_body = PathBody,
    responses((status = 201, body = EntryView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn make_dir(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Body { value, .. }: Body<PathBody>,
) -> Result<(StatusCode, Json<EntryView>), Problem> {
    let made = app.node.make_dir(&who.tenant, &id, &value.path).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Where from and where to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RenameBody {
    /// What it is called.
    from: String,
    /// What it is to be called.
    to: String,
}

/// Move or rename.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/files/rename", tag = "files", params(("sandbox" = String, Path)),
    request_body = RenameBody,
    responses((status = 200, body = EntryView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn rename(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Body { value, .. }: Body<RenameBody>,
) -> Result<Json<EntryView>, Problem> {
    Ok(Json(
        app.node
            .rename(&who.tenant, &id, &value.from, &value.to)
            .await?
            .into(),
    ))
}

/// Remove a file, or a directory with everything in it. Nothing there is no error.
#[utoipa::path(delete, path = "/v1/sandboxes/{sandbox}/files", tag = "files", params(("sandbox" = String, Path), PathQuery),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Asked(query): Asked<PathQuery>,
) -> Result<Response, Problem> {
    match tokio::time::timeout(app.limits.request, app.node.remove(&who.tenant, &id, &query.path)).await {
        Ok(done) => done?,
        Err(_) => return Err(Problem::timeout("the request took longer than it may")),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
