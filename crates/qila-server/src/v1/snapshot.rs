//! Snapshots of files.
use super::view::{self, Listed};
use crate::app::App;
use crate::body::{Asked, At, Body, Sandbox};
use crate::gate::Caller;
use crate::once;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use qila_api::{SandboxId, SnapshotId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Files of a sandbox as they were at one moment.
#[derive(Serialize, ToSchema)]
#[schema(as = Snapshot)]
pub(crate) struct SnapshotView {
    /// Its name.
    id: String,
    /// The sandbox of which it was taken.
    sandbox: String,
    /// Template of that sandbox.
    template: String,
    /// A name given to it.
    name: Option<String>,
    /// When, in Unix milliseconds.
    taken_ms: u64,
}

impl From<qila_api::Snapshot> for SnapshotView {
    fn from(s: qila_api::Snapshot) -> SnapshotView {
        SnapshotView {
            id: s.id.into(),
            sandbox: s.sandbox.into(),
            template: s.template,
            name: s.name,
            taken_ms: s.taken_ms,
        }
    }
}

/// A snapshot that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakeBody {
    /// A name for it.
    name: Option<String>,
}

/// Keep the files of a sandbox as they are now.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/snapshots", tag = "snapshots",
    params(("sandbox" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request answer what the first was answered.")),
    request_body = TakeBody,
    responses((status = 201, body = SnapshotView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn take(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    headers: HeaderMap,
    Body { value, bytes }: Body<TakeBody>,
) -> Result<Response, Problem> {
    let (node, tenant, what) = (app.node.clone(), who.tenant.clone(), format!("snapshot {id}"));
    let work = async move { Ok(SnapshotView::from(node.snapshot(&tenant, &id, value.name).await?)) };
    Ok(once::once(&app, &who.tenant, once::key(&headers)?, &what, &bytes, work).await)
}

/// Which snapshots are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only those of this sandbox.
    sandbox: Option<String>,
    /// At most so many, from 1 to 1,000; 100 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the list goes on, as the part before it said in `next`.
    after: Option<String>,
}

/// List snapshots, newest first.
#[utoipa::path(get, path = "/v1/snapshots", tag = "snapshots", params(ListQuery),
    responses((status = 200, body = Listed<SnapshotView>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(who): Caller,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Listed<SnapshotView>>, Problem> {
    let of = query.sandbox.as_deref().map(SandboxId::parse).transpose()?;
    let (limit, after) = (view::limit(query.limit)?, view::cursor(query.after)?);
    Ok(Json(Listed::of(
        app.node.snapshots(&who.tenant, of.as_ref(), limit, after).await?,
    )))
}

/// Remove a snapshot.
#[utoipa::path(delete, path = "/v1/snapshots/{snapshot}", tag = "snapshots", params(("snapshot" = String, Path)),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): At<SnapshotId>,
) -> Result<Response, Problem> {
    match app.node.remove_snapshot(&who.tenant, &id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::not_found(format!("there is no snapshot `{id}`"))),
    }
}
