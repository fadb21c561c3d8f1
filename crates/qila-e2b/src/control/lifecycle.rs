//! What becomes of a sandbox: its time, its pauses, its end.
use super::caller::Caller;
use super::create::seconds;
use super::error::Refusal;
use super::json::{Json, no_sandbox, sandbox};
use super::origin::Origin;
use super::{Plane, view};
use axum::extract::{Path, State};
use http::StatusCode;
use qila_api::State as Is;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Time that a sandbox has from a `connect` or `resume` on that names none.
const TIMEOUT: u64 = 300;
/// Time that a refresh without one gives.
const REFRESH: u64 = 60;

pub(super) async fn detail(
    State(plane): State<Plane>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, Refusal> {
    let sandbox = plane.node.get(&caller.tenant, &sandbox(&id)?).await?;
    Ok(axum::Json(view::detail(&sandbox, &origin.0)))
}

pub(super) async fn kill(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    match plane.node.kill(&caller.tenant, &sandbox(&id)?).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_sandbox(&id)),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Timeout {
    timeout: u64,
}

/// A time of zero is over at once.
fn from_now(timeout: u64) -> Result<Duration, Refusal> {
    if timeout == 0 {
        Ok(Duration::ZERO)
    } else {
        seconds(timeout)
    }
}

pub(super) async fn timeout(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
    Json(asked): Json<Timeout>,
) -> Result<StatusCode, Refusal> {
    let timeout = from_now(asked.timeout)?;
    plane
        .node
        .set_timeout(&caller.tenant, &sandbox(&id)?, timeout, false)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
pub(super) struct Refresh {
    duration: Option<u64>,
}

pub(super) async fn refresh(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
    Json(asked): Json<Refresh>,
) -> Result<StatusCode, Refusal> {
    let timeout = from_now(asked.duration.unwrap_or(REFRESH))?;
    plane
        .node
        .set_timeout(&caller.tenant, &sandbox(&id)?, timeout, true)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
pub(super) struct Pause {
    memory: Option<bool>,
}

pub(super) async fn pause(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
    Json(asked): Json<Pause>,
) -> Result<StatusCode, Refusal> {
    if asked.memory == Some(false) {
        return Err(Refusal::bad(
            "`memory: false` is not there: a paused sandbox keeps its processes",
        ));
    }
    let id = sandbox(&id)?;
    if plane.node.get(&caller.tenant, &id).await?.state == Is::Paused {
        return Err(Refusal::conflict(format!("sandbox {id} is paused already")));
    }
    plane.node.pause(&caller.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resume {
    timeout: Option<u64>,
    memory: Option<bool>,
    auto_pause: Option<bool>,
}

fn no_reboot(memory: Option<bool>) -> Result<(), Refusal> {
    match memory {
        Some(false) => Err(Refusal::bad(
            "`memory: false` is not there: a sandbox goes on where it was paused, and is not booted",
        )),
        _ => Ok(()),
    }
}

/// The older way to go on: one that runs is a conflict.
pub(super) async fn resume(
    State(plane): State<Plane>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    Json(asked): Json<Resume>,
) -> Result<(StatusCode, axum::Json<Value>), Refusal> {
    no_reboot(asked.memory)?;
    let id = sandbox(&id)?;
    let before = plane.node.get(&caller.tenant, &id).await?;
    if asked
        .auto_pause
        .is_some_and(|pause| pause != (view::on_timeout(&before) == "pause"))
    {
        return Err(Refusal::bad("`autoPause` is fixed when a sandbox is made"));
    }
    if before.state == Is::Running {
        return Err(Refusal::conflict(format!("sandbox {id} runs")));
    }
    let timeout = seconds(asked.timeout.unwrap_or(TIMEOUT))?;
    let sandbox = plane.node.resume(&caller.tenant, &id, Some(timeout)).await?;
    Ok((
        StatusCode::CREATED,
        axum::Json(view::created(&sandbox, &origin.0)),
    ))
}

#[derive(Debug, Deserialize)]
pub(super) struct Connect {
    timeout: Option<u64>,
    memory: Option<bool>,
}

/// Comes back to one, and lets it go on if it is paused.
pub(super) async fn connect(
    State(plane): State<Plane>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    Json(asked): Json<Connect>,
) -> Result<(StatusCode, axum::Json<Value>), Refusal> {
    no_reboot(asked.memory)?;
    let id = sandbox(&id)?;
    let before = plane.node.get(&caller.tenant, &id).await?.state;
    let timeout = seconds(asked.timeout.unwrap_or(TIMEOUT))?;
    let sandbox = plane.node.resume(&caller.tenant, &id, Some(timeout)).await?;
    let status = match before {
        Is::Running => StatusCode::OK,
        Is::Paused => StatusCode::CREATED,
    };
    Ok((status, axum::Json(view::created(&sandbox, &origin.0))))
}
