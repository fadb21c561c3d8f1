//! Builds of templates: asked for, begun, looked at. What is built is an image or another template as it is; steps are refused.
use super::caller::Caller;
use super::error::Refusal;
use super::json::Json;
use super::{Plane, templates, view};
use crate::time::{now_ms, rfc3339};
use axum::extract::{Path, State};
use http::StatusCode;
use qila_api::{Source, Template, TemplateState, Tenant};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Builds that were asked for and not begun: beyond, the oldest is forgotten.
const WAITING: usize = 1000;

/// Builds that were asked for and not begun.
#[derive(Debug, Default)]
pub(super) struct Builds(Mutex<VecDeque<Wanted>>);

#[derive(Debug, Clone)]
struct Wanted {
    tenant: Tenant,
    template: String,
    build: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    name: Option<String>,
    alias: Option<String>,
    tags: Option<Vec<String>>,
    cpu_count: Option<u32>,
    #[serde(rename = "memoryMB")]
    memory_mb: Option<u64>,
    min_free_disk_mb: Option<u64>,
}

/// Asks for a build: of what, the next request says.
pub(super) async fn request(
    State(plane): State<Plane>,
    caller: Caller,
    Json(asked): Json<Request>,
) -> Result<(StatusCode, axum::Json<Value>), Refusal> {
    let name = asked.name.or(asked.alias).unwrap_or_default();
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > 128 || !name.bytes().all(sound) {
        return Err(Refusal::bad(
            "the name of a template has 1 to 128 of a-z, 0-9, `-_.`, and no tag",
        ));
    }
    if asked
        .tags
        .is_some_and(|tags| tags.iter().any(|t| t != "default" && t != "latest"))
    {
        return Err(Refusal::bad("`tags` are not there: a template has one version"));
    }
    if asked.cpu_count.is_some() || asked.memory_mb.is_some() || asked.min_free_disk_mb.is_some() {
        let what = "`cpuCount`, `memoryMB` and `minFreeDiskMb` are not there: the template's policy says what its sandboxes may use";
        return Err(Refusal::bad(what));
    }
    let taken = plane.node.templates(&caller.tenant).await?;
    if taken
        .iter()
        .any(|t| t.public && (t.id == name || t.names.contains(&name)))
    {
        return Err(Refusal::conflict(format!(
            "there is a template `{name}` for all already"
        )));
    }
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the system has no random numbers",
        )
    })?;
    let build = view::uuid(random.into_iter());
    let mut waiting = plane.builds.0.lock().unwrap_or_else(PoisonError::into_inner);
    if waiting.len() >= WAITING {
        waiting.pop_front();
    }
    waiting.push_back(Wanted {
        tenant: caller.tenant,
        template: name.clone(),
        build: build.clone(),
    });
    let view = json!({
        "templateID": name, "buildID": build, "public": false, "names": [name], "aliases": [name], "tags": ["default"],
    });
    Ok((StatusCode::ACCEPTED, axum::Json(view)))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Begin {
    from_image: Option<String>,
    from_template: Option<String>,
    from_image_registry: Option<Value>,
    steps: Option<Vec<Step>>,
    start_cmd: Option<String>,
    ready_cmd: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Step {
    #[serde(rename = "type")]
    kind: String,
}

fn text(text: Option<String>) -> Option<String> {
    text.filter(|t| !t.is_empty())
}

pub(super) async fn begin(
    State(plane): State<Plane>,
    caller: Caller,
    Path((template, build)): Path<(String, String)>,
    Json(asked): Json<Begin>,
) -> Result<StatusCode, Refusal> {
    if let Some(step) = asked.steps.unwrap_or_default().first() {
        let kind: String = step.kind.chars().take(32).collect();
        let what = format!("a step `{}` cannot be built here", kind.escape_debug());
        let instead = "build an image with your own tools and name it, or make a sandbox, change it and take a snapshot";
        return Err(Refusal::bad(format!("{what}: {instead}")));
    }
    if asked.from_image_registry.is_some_and(|r| !r.is_null()) {
        return Err(Refusal::bad(
            "`fromImageRegistry` is not there: images are fetched without a login",
        ));
    }
    let base = match text(asked.from_template) {
        Some(name) => templates::find(&plane, &caller.tenant, &name).await?,
        None => templates::find(&plane, &caller.tenant, "base").await?,
    };
    templates::may_keep(&caller, &base, true)?;
    let wanted = {
        let mut waiting = plane.builds.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting
            .iter()
            .position(|w| w.tenant == caller.tenant && w.template == template && w.build == build);
        at.and_then(|at| waiting.remove(at))
    };
    let wanted = wanted.ok_or_else(|| Refusal::missing("there is no such build, or it was begun already"))?;
    let new = Template {
        host_login: caller.admin,
        id: wanted.template,
        names: Vec::new(),
        public: false,
        source: text(asked.from_image).map_or(base.source.clone(), Source::Image),
        start: text(asked.start_cmd).or(base.start),
        ready: text(asked.ready_cmd).or(base.ready),
        state: TemplateState::Building,
        made_ms: now_ms(),
        pool: 0,
        zygote: None,
        files: base.files,
        policy: base.policy,
        timeout_s: base.timeout_s,
    };
    plane.node.put_template(&caller.tenant, new).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn status(
    State(plane): State<Plane>,
    caller: Caller,
    Path((template, build)): Path<(String, String)>,
) -> Result<axum::Json<Value>, Refusal> {
    let is = |w: &Wanted| w.tenant == caller.tenant && w.template == template && w.build == build;
    let waits = plane
        .builds
        .0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .iter()
        .any(is);
    let view = |status: &str, reason: Option<&str>| {
        let mut view = json!({
            "templateID": template, "buildID": build, "status": status, "logs": [], "logEntries": [],
        });
        if let (Some(reason), Some(fields)) = (reason, view.as_object_mut()) {
            let entry = json!({"timestamp": rfc3339(i64::try_from(now_ms()).unwrap_or(0)), "message": reason, "level": "error"});
            fields.insert("reason".into(), json!({"message": reason, "logEntries": [entry]}));
        }
        Ok(axum::Json(view))
    };
    if waits {
        return view("waiting", None);
    }
    let found = templates::find(&plane, &caller.tenant, &template).await?;
    match &found.state {
        TemplateState::Failed { reason } => view(view::status(&found), Some(reason)),
        _ => view(view::status(&found), None),
    }
}

/// Nothing is run, so nothing is said.
pub(super) async fn logs(
    State(plane): State<Plane>,
    caller: Caller,
    Path((template, _)): Path<(String, String)>,
) -> Result<axum::Json<Value>, Refusal> {
    templates::find(&plane, &caller.tenant, &template).await?;
    Ok(axum::Json(json!({"logs": []})))
}

/// Files for a step that copies them.
pub(super) async fn files(_: Caller) -> Refusal {
    Refusal::bad(
        "files cannot be copied into a template: make a sandbox, write them there and take a snapshot",
    )
}
