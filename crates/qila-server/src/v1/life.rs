//! A sandbox's time, pause, forks and the way back.
use super::view::{self, SandboxView};
use crate::app::App;
use crate::body::{At, Body, Sandbox};
use crate::gate::Caller;
use crate::once;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use qila_api::{Fork, SnapshotId};
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

type Answer = Result<Json<SandboxView>, Problem>;

/// Another end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimeoutBody {
    /// Milliseconds from now.
    #[schema(maximum = 31_622_400_000_u64)]
    timeout_ms: u64,
    /// Never earlier than it was.
    #[serde(default)]
    only_extend: bool,
}

/// Set when a sandbox's time is over.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/timeout", tag = "sandboxes", params(("sandbox" = String, Path)),
    request_body = TimeoutBody,
    responses((status = 200, body = SandboxView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn set_timeout(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Body { value, .. }: Body<TimeoutBody>,
) -> Answer {
    let time = view::time(value.timeout_ms)?;
    Ok(Json(
        app.node
            .set_timeout(&who.tenant, &id, time, value.only_extend)
            .await?
            .into(),
    ))
}

/// Stop all processes of a sandbox where they are.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/pause", tag = "sandboxes", params(("sandbox" = String, Path)),
    responses((status = 200, body = SandboxView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn pause(State(app): State<App>, Caller(who): Caller, At(id): Sandbox) -> Answer {
    Ok(Json(app.node.pause(&who.tenant, &id).await?.into()))
}

/// How a paused sandbox goes on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeBody {
    /// Milliseconds until it ends; absent: as before.
    #[schema(maximum = 31_622_400_000_u64)]
    timeout_ms: Option<u64>,
}

/// Let the processes of a sandbox go on.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/resume", tag = "sandboxes", params(("sandbox" = String, Path)),
    request_body = ResumeBody,
    responses((status = 200, body = SandboxView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn resume(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Body { value, .. }: Body<ResumeBody>,
) -> Answer {
    let time = value.timeout_ms.map(view::time).transpose()?;
    Ok(Json(app.node.resume(&who.tenant, &id, time).await?.into()))
}

/// A fork that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForkBody {
    /// Milliseconds until the new one ends; absent: as the forked one.
    #[schema(maximum = 31_622_400_000_u64)]
    timeout_ms: Option<u64>,
    /// Its metadata; absent: that of the forked one.
    metadata: Option<BTreeMap<String, String>>,
}

/// Make a sandbox with the files of another as they are now. Processes, credentials and tokens do not travel.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/fork", tag = "sandboxes",
    params(("sandbox" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request answer what the first was answered.")),
    request_body = ForkBody,
    responses((status = 201, body = SandboxView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn fork(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    headers: HeaderMap,
    Body { value, bytes }: Body<ForkBody>,
) -> Result<Response, Problem> {
    let key = once::key(&headers)?;
    let wish = Fork {
        timeout: value.timeout_ms.map(view::time).transpose()?,
        metadata: value.metadata,
        idempotency_key: key.clone(),
    };
    let (node, tenant, what) = (app.node.clone(), who.tenant.clone(), format!("fork {id}"));
    let work = async move { Ok(SandboxView::from(node.fork(&tenant, &id, wish).await?)) };
    Ok(once::once(&app, &who.tenant, key, &what, &bytes, work).await)
}

/// Where a sandbox goes back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollBackBody {
    /// A snapshot of this sandbox.
    snapshot: String,
}

/// End a sandbox's processes and give it the files of a snapshot of its own.
#[utoipa::path(post, path = "/v1/sandboxes/{sandbox}/rollback", tag = "sandboxes", params(("sandbox" = String, Path)),
    request_body = RollBackBody,
    responses((status = 200, body = SandboxView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn roll_back(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Body { value, .. }: Body<RollBackBody>,
) -> Answer {
    let to = SnapshotId::parse(&value.snapshot)?;
    Ok(Json(app.node.roll_back(&who.tenant, &id, &to).await?.into()))
}
