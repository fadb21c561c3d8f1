//! What sandboxes use, and their logs.
use super::Plane;
use super::caller::Caller;
use super::error::Refusal;
use super::json::sandbox;
use super::query::Query;
use crate::time::rfc3339;
use axum::Json;
use axum::extract::{Path, State};
use qila_api::{Kind, LogLine, Metrics, State as Is};
use serde_json::{Map, Value, json};

/// Most sandboxes of one request for metrics.
const MANY: usize = 100;
/// Most lines of a log.
const LINES: u64 = 1000;

fn moment(ms: u64) -> String {
    rfc3339(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn metric(m: &Metrics) -> Value {
    json!({
        "timestamp": moment(m.time_ms),
        "timestampUnix": m.time_ms / 1000,
        "cpuCount": m.cpu_count,
        "cpuUsedPct": m.cpu_percent,
        "memUsed": m.memory_used,
        "memTotal": m.memory_total,
        "memCache": 0,
        "diskUsed": m.disk_used,
        "diskTotal": m.disk_total,
    })
}

/// What one uses now, as a list of one: no history is kept. Of a time that is over, and while it is paused, there is none.
pub(super) async fn metrics(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<Vec<Value>>, Refusal> {
    let id = sandbox(&id)?;
    let (start, end) = (
        query.number("start", 0, u64::MAX, 0)?,
        query.number("end", 0, u64::MAX, u64::MAX)?,
    );
    if plane.node.get(&caller.tenant, &id).await?.state == Is::Paused {
        return Ok(Json(Vec::new()));
    }
    let now = plane.node.metrics(&caller.tenant, &id).await?;
    let within = (start..=end).contains(&(now.time_ms / 1000));
    Ok(Json(if within { vec![metric(&now)] } else { Vec::new() }))
}

pub(super) async fn metrics_of_many(
    State(plane): State<Plane>,
    caller: Caller,
    query: Query,
) -> Result<Json<Value>, Refusal> {
    let ids = query.all("sandbox_ids");
    if ids.is_empty() || ids.len() > MANY {
        return Err(Refusal::bad(format!("`sandbox_ids` names 1 to {MANY} sandboxes")));
    }
    let mut all = Map::new();
    for id in ids {
        let Ok(id) = sandbox(id) else { continue };
        match plane.node.metrics(&caller.tenant, &id).await {
            Ok(m) => all.insert(id.to_string(), metric(&m)),
            // Those that are not there are not in the answer.
            Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone | Kind::Conflict) => None,
            Err(e) => return Err(e.into()),
        };
    }
    Ok(Json(json!({"sandboxes": all})))
}

fn entry(line: &LogLine) -> Value {
    json!({"timestamp": moment(line.time_ms), "message": line.message, "level": line.level, "fields": line.fields})
}

/// A line as the older version has it: JSON within JSON, which E2B's command line reads.
fn line(line: &LogLine) -> String {
    let mut all = json!({"message": line.message, "level": line.level, "logger": "qila"});
    if let Some(all) = all.as_object_mut() {
        for (name, value) in &line.fields {
            all.entry(name.clone()).or_insert_with(|| json!(value));
        }
    }
    all.to_string()
}

async fn lines(plane: &Plane, caller: &Caller, id: &str, limit: u64) -> Result<Vec<LogLine>, Refusal> {
    let limit = usize::try_from(limit).unwrap_or(0);
    Ok(plane.node.logs(&caller.tenant, &sandbox(id)?, limit).await?)
}

pub(super) async fn logs(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<Value>, Refusal> {
    let limit = query.number("limit", 0, LINES, LINES)?;
    let since = query.number("start", 0, u64::MAX, 0)?;
    let mut lines = lines(&plane, &caller, &id, limit).await?;
    lines.retain(|l| l.time_ms >= since);
    let old = |l: &LogLine| json!({"timestamp": moment(l.time_ms), "line": line(l)});
    Ok(Json(json!({
        "logs": lines.iter().map(old).collect::<Vec<_>>(),
        "logEntries": lines.iter().map(entry).collect::<Vec<_>>(),
    })))
}

pub(super) async fn logs_v2(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
    query: Query,
) -> Result<Json<Value>, Refusal> {
    let limit = query.number("limit", 0, LINES, LINES)?;
    let cursor = query.number("cursor", 0, u64::MAX, 0)?;
    let backward = match query.get("direction") {
        None | Some("forward") => false,
        Some("backward") => true,
        Some(_) => return Err(Refusal::bad("`direction` is `forward` or `backward`")),
    };
    let mut lines = lines(&plane, &caller, &id, LINES).await?;
    if cursor > 0 {
        lines.retain(|l| {
            if backward {
                l.time_ms <= cursor
            } else {
                l.time_ms >= cursor
            }
        });
    }
    if let Some(level) = query.get("level") {
        let rank = |l: &str| {
            ["debug", "info", "warn", "error"]
                .iter()
                .position(|known| *known == l)
        };
        let least = rank(level).ok_or_else(|| Refusal::bad("`level` is debug, info, warn or error"))?;
        lines.retain(|l| rank(&l.level).is_none_or(|r| r >= least));
    }
    if let Some(search) = query.get("search") {
        lines.retain(|l| l.message.contains(search));
    }
    if backward {
        lines.reverse();
    }
    lines.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(Json(json!({"logs": lines.iter().map(entry).collect::<Vec<_>>()})))
}
