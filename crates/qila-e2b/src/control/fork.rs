//! Forks of a sandbox.
use super::caller::Caller;
use super::create::seconds;
use super::error::Refusal;
use super::json::{Json, sandbox};
use super::origin::Origin;
use super::{Plane, view};
use axum::extract::{Path, State};
use http::StatusCode;
use qila_api::{Fork, Kind};
use serde::Deserialize;
use serde_json::{Value, json};

/// Most forks of one request.
const MOST: u32 = 100;
/// Time of a fork whose maker named none.
const TIMEOUT: u64 = 300;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    timeout: Option<u64>,
    count: Option<u32>,
}

/// Makes forks. One that fails is told as such beside those that did not.
pub(super) async fn fork(
    State(plane): State<Plane>,
    caller: Caller,
    origin: Origin,
    Path(id): Path<String>,
    Json(asked): Json<Asked>,
) -> Result<(StatusCode, axum::Json<Vec<Value>>), Refusal> {
    let id = sandbox(&id)?;
    let count = asked.count.unwrap_or(1);
    if !(1..=MOST).contains(&count) {
        return Err(Refusal::bad(format!("`count` is 1 to {MOST}")));
    }
    let wish = Fork {
        timeout: Some(seconds(asked.timeout.unwrap_or(TIMEOUT))?),
        metadata: None,
        idempotency_key: None,
    };
    plane.node.get(&caller.tenant, &id).await?;
    let mut results = Vec::new();
    for _ in 0..count {
        match plane.node.fork(&caller.tenant, &id, wish.clone()).await {
            Ok(sandbox) => results.push(json!({"sandbox": view::created(&sandbox, &origin.0)})),
            // Nothing to show beside it: it is the request that failed.
            Err(e) if results.is_empty() && (count == 1 || e.kind == Kind::NotFound) => return Err(e.into()),
            Err(e) => results.push(json!({"error": Refusal::from(e).body()})),
        }
    }
    Ok((StatusCode::CREATED, axum::Json(results)))
}
