//! Snapshots. To E2B, a snapshot is a template; a sandbox that is asked for from one is made from a template of the node that
//! is made the first time.
use super::caller::Caller;
use super::error::Refusal;
use super::json::{Json, sandbox};
use super::list::goes_on;
use super::query::Query;
use super::{Plane, templates, view};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qila_api::{Cursor, Snapshot, SnapshotId, Source, Template, TemplateState, Tenant};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Most of one page.
const PAGE: u64 = 100;
/// Most snapshots that are looked through for a name.
const ALL: usize = 10_000;
/// How long a template of a snapshot may take to be made.
const PATIENCE: Duration = Duration::from_secs(30);
const PROBE: Duration = Duration::from_millis(5);

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    name: Option<String>,
    memory: Option<bool>,
}

pub(super) async fn take(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
    Json(asked): Json<Asked>,
) -> Result<(StatusCode, axum::Json<Value>), Refusal> {
    if asked.memory == Some(true) {
        return Err(Refusal::bad(
            "`memory: true` is not there: a snapshot keeps files, not processes",
        ));
    }
    let name = asked.name.filter(|n| !n.is_empty());
    let snapshot = plane.node.snapshot(&caller.tenant, &sandbox(&id)?, name).await?;
    Ok((StatusCode::CREATED, axum::Json(view::snapshot(&snapshot))))
}

pub(super) async fn list(
    State(plane): State<Plane>,
    caller: Caller,
    query: Query,
) -> Result<Response, Refusal> {
    let limit = usize::try_from(query.number("limit", 1, PAGE, PAGE)?).unwrap_or(1);
    let of = query.get("sandboxID").map(sandbox).transpose()?;
    let after = query.get("nextToken").map(|t| Cursor(t.to_owned()));
    let mut page = plane
        .node
        .snapshots(&caller.tenant, of.as_ref(), limit, after)
        .await?;
    if let Some(name) = query.get("name") {
        page.items
            .retain(|s| s.name.as_deref() == Some(name) || s.id.as_str() == name);
    }
    let mut response = axum::Json(page.items.iter().map(view::snapshot).collect::<Vec<_>>()).into_response();
    goes_on(&mut response, page.next)?;
    Ok(response)
}

/// A snapshot of the tenant, by id or name: the newest that has it.
pub(super) async fn find(plane: &Plane, tenant: &Tenant, name: &str) -> Result<Option<Snapshot>, Refusal> {
    let mut after = None;
    let mut seen = 0;
    loop {
        let page = plane.node.snapshots(tenant, None, PAGE as usize, after).await?;
        seen += page.items.len();
        let none = page.items.is_empty();
        let found = page
            .items
            .into_iter()
            .find(|s| s.id.as_str() == name || s.name.as_deref() == Some(name));
        after = page.next;
        if found.is_some() || after.is_none() || none {
            return Ok(found);
        }
        if seen >= ALL {
            return Err(Refusal::bad(format!(
                "more than {ALL} snapshots: name one by its id"
            )));
        }
    }
}

/// E2B's names end in `:TAG`, of which there is one here.
fn untagged(name: &str) -> &str {
    name.strip_suffix(":default")
        .or(name.strip_suffix(":latest"))
        .unwrap_or(name)
}

/// The name of the template that a name means. One of a snapshot is made if there is none yet.
pub(super) async fn template(plane: &Plane, caller: &Caller, name: String) -> Result<String, Refusal> {
    let tenant = &caller.tenant;
    if name.is_empty() || name.len() > 256 {
        return Err(Refusal::bad("`templateID` has 1 to 256 bytes"));
    }
    let name = untagged(&name).to_owned();
    let known = plane.node.templates(tenant).await?;
    if known.iter().any(|t| t.id == name || t.names.contains(&name)) {
        return Ok(name);
    }
    let Some(snapshot) = find(plane, tenant, &name).await? else {
        return Ok(name);
    };
    let id = snapshot.id.to_string();
    if known.iter().any(|t| t.id == id) {
        return Ok(id);
    }
    let of = known.iter().find(|t| t.id == snapshot.template);
    let of = of.ok_or_else(|| Refusal::conflict(format!("the template of snapshot {id} is gone")))?;
    // Its files are those of a sandbox, which may be kept.
    templates::may_keep(caller, of, false)?;
    let template = Template {
        host_login: false,
        id: id.clone(),
        names: Vec::new(),
        public: false,
        source: Source::Snapshot(id.clone()),
        files: None,
        policy: of.policy.clone(),
        // The files are those of a sandbox in which it had been run.
        start: of.start.clone(),
        ready: of.ready.clone(),
        pool: 0,
        zygote: None,
        timeout_s: of.timeout_s,
        state: TemplateState::Building,
        made_ms: crate::time::now_ms(),
    };
    plane.node.put_template(tenant, template).await?;
    made(plane, tenant, &id).await?;
    Ok(id)
}

/// Waits until a template can be used.
async fn made(plane: &Plane, tenant: &Tenant, id: &str) -> Result<(), Refusal> {
    let waiting = async {
        loop {
            let all = plane.node.templates(tenant).await?;
            match all.into_iter().find(|t| t.id == id).map(|t| t.state) {
                Some(TemplateState::Ready) => return Ok(()),
                Some(TemplateState::Failed { reason }) => return Err(Refusal::conflict(reason)),
                Some(TemplateState::Building) => tokio::time::sleep(PROBE).await,
                None => {
                    return Err(Refusal::conflict(format!(
                        "the template of snapshot {id} was removed"
                    )));
                }
            }
        }
    };
    let late = || {
        Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("snapshot {id} is not ready yet"),
        )
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// Removes a snapshot and the template that stands for it. False: there was none.
pub(super) async fn remove(plane: &Plane, tenant: &Tenant, name: &str) -> Result<bool, Refusal> {
    let Some(snapshot) = find(plane, tenant, untagged(name)).await? else {
        return Ok(false);
    };
    plane.node.remove_template(tenant, snapshot.id.as_str()).await?;
    let id = SnapshotId::parse(snapshot.id.as_str()).map_err(|e| Refusal::bad(e.to_string()))?;
    Ok(plane.node.remove_snapshot(tenant, &id).await?)
}
