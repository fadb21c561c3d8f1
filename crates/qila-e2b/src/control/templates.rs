//! Templates: what there is, and the end of one.
use super::caller::Caller;
use super::error::Refusal;
use super::{Plane, snapshots, view};
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use qila_api::{Source, Template, Tenant};
use qila_policy::{NoFiles, parse, preset};
use serde_json::{Value, json};

/// A template by id or name.
pub(super) async fn find(plane: &Plane, tenant: &Tenant, name: &str) -> Result<Template, Refusal> {
    let all = plane.node.templates(tenant).await?;
    let found = all
        .into_iter()
        .find(|t| t.id == name || t.names.iter().any(|n| n == name));
    found.ok_or_else(|| {
        let name: String = name.chars().take(128).collect();
        Refusal::missing(format!("there is no template `{}`", name.escape_debug()))
    })
}

/// Whether whoever asks may make a template of their own with the policy of this one, which would outlive it: another's with
/// credentials or files of the host is only lent. `files`: these are taken over too.
pub(super) fn may_keep(caller: &Caller, of: &Template, files: bool) -> Result<(), Refusal> {
    let lent = (files && of.files.is_some()) || has_credentials(&of.policy);
    if caller.admin || !of.public || !lent {
        return Ok(());
    }
    let what = format!(
        "template `{}` has credentials or files of the host, which only an admin key may give to another template",
        of.id.escape_debug()
    );
    Err(Refusal::new(StatusCode::FORBIDDEN, what))
}

/// What cannot be read may have some.
fn has_credentials(policy: &str) -> bool {
    let read = match policy.contains('\n') {
        false => preset::policy(policy.trim()),
        true => None,
    };
    let read = read.unwrap_or_else(|| parse("policy.yaml", policy, &mut NoFiles));
    read.map_or(true, |policy| !policy.credentials.is_empty())
}

pub(super) async fn list(State(plane): State<Plane>, caller: Caller) -> Result<Json<Vec<Value>>, Refusal> {
    let all = plane.node.templates(&caller.tenant).await?;
    // Those that stand for a snapshot are in the list of snapshots.
    let made = all
        .iter()
        .filter(|t| !matches!(&t.source, Source::Snapshot(id) if *id == t.id));
    Ok(Json(made.map(view::template).collect()))
}

pub(super) async fn detail(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(view::template_with_builds(
        &find(&plane, &caller.tenant, &id).await?,
    )))
}

pub(super) async fn alias(
    State(plane): State<Plane>,
    caller: Caller,
    Path(alias): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let found = find(&plane, &caller.tenant, &alias).await?;
    Ok(Json(json!({"templateID": found.id, "public": found.public})))
}

/// Removes a template, or a snapshot: to E2B they are the same.
pub(super) async fn remove(
    State(plane): State<Plane>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Refusal> {
    if snapshots::remove(&plane, &caller.tenant, &id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let found = find(&plane, &caller.tenant, &id).await?;
    match plane.node.remove_template(&caller.tenant, &found.id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!("template `{}` is not yours", found.id),
        )),
    }
}
