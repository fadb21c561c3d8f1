//! What a sandbox uses, and its log.
use super::view;
use crate::app::App;
use crate::body::{Asked, At, Sandbox};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// What a sandbox uses at one moment.
#[derive(Serialize, ToSchema)]
#[schema(as = Metrics)]
pub(crate) struct MetricsView {
    /// Unix milliseconds.
    time_ms: u64,
    /// Processors that it may use.
    cpu_count: u32,
    /// How much of them it used, in per cent of all of them, since the measurement before.
    cpu_percent: f64,
    /// Memory in use, bytes.
    memory_used: u64,
    /// Memory that it may use, bytes.
    memory_total: u64,
    /// Files that it wrote, bytes.
    disk_used: u64,
    /// What it may write, bytes.
    disk_total: u64,
}

/// Say what a sandbox uses now.
#[utoipa::path(get, path = "/v1/metrics/sandboxes/{sandbox}", tag = "sandboxes", params(("sandbox" = String, Path)),
    responses((status = 200, body = MetricsView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn metrics(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
) -> Result<Json<MetricsView>, Problem> {
    let m = app.node.metrics(&who.tenant, &id).await?;
    Ok(Json(MetricsView {
        time_ms: m.time_ms,
        cpu_count: m.cpu_count,
        cpu_percent: m.cpu_percent,
        memory_used: m.memory_used,
        memory_total: m.memory_total,
        disk_used: m.disk_used,
        disk_total: m.disk_total,
    }))
}

/// One line of a sandbox's log.
#[derive(Serialize, ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct LogLineView {
    /// Unix milliseconds.
    time_ms: u64,
    /// `debug`, `info`, `warn` or `error`.
    level: String,
    /// What happened.
    message: String,
    /// More about it.
    fields: BTreeMap<String, String>,
}

/// How much of the log is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// The newest so many lines, from 1 to 1,000; 100 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Show the newest lines of a sandbox's log, oldest first.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/logs", tag = "sandboxes", params(("sandbox" = String, Path), LogsQuery),
    responses((status = 200, body = Vec<LogLineView>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn logs(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
    Asked(query): Asked<LogsQuery>,
) -> Result<Json<Vec<LogLineView>>, Problem> {
    let lines = app.node.logs(&who.tenant, &id, view::limit(query.limit)?).await?;
    let view = |l: qila_api::LogLine| LogLineView {
        time_ms: l.time_ms,
        level: l.level,
        message: l.message,
        fields: l.fields,
    };
    Ok(Json(lines.into_iter().map(view).collect()))
}
