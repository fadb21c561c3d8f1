//! Templates: what sandboxes are made from.
use crate::app::{App, now_ms};
use crate::body::{At, Body};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qila_api::{BadId, SandboxId, Source, Template, TemplateState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sandboxes of one template that may be kept ready.
const POOL: u32 = 1_000;
/// Names that one template may have.
const NAMES: usize = 16;

/// A Python that is started once and forked into sandboxes.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZygoteView {
    /// Modules that it has imported, 32 at most.
    preload: Vec<String>,
}

/// Where a template's files come from.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SourceView {
    /// The host's own system directories.
    Host,
    /// A directory of the host that holds a root file system. Empty to who merely may use it.
    Directory(String),
    /// An OCI image: `docker.io/library/python:3.12`, or one with `@sha256:…`.
    Image(String),
    /// An OCI image layout on the host. Empty to who merely may use it.
    Layout(String),
    /// A snapshot of a sandbox of yours.
    Snapshot(String),
}

impl From<Source> for SourceView {
    fn from(source: Source) -> SourceView {
        match source {
            Source::Host => SourceView::Host,
            Source::Directory(at) => SourceView::Directory(at),
            Source::Image(name) => SourceView::Image(name),
            Source::Layout(at) => SourceView::Layout(at),
            Source::Snapshot(id) => SourceView::Snapshot(id),
        }
    }
}

impl From<SourceView> for Source {
    fn from(source: SourceView) -> Source {
        match source {
            SourceView::Host => Source::Host,
            SourceView::Directory(at) => Source::Directory(at),
            SourceView::Image(name) => Source::Image(name),
            SourceView::Layout(at) => Source::Layout(at),
            SourceView::Snapshot(id) => Source::Snapshot(id),
        }
    }
}

/// What sandboxes are made from.
#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
pub(crate) struct TemplateView {
    /// Its id.
    id: String,
    /// Names by which it is asked for.
    names: Vec<String>,
    /// Whether every tenant may use it.
    public: bool,
    /// Where its files come from.
    source: SourceView,
    /// Its policy, as YAML or as the name of a built-in one. Empty to who merely may use it, unless it is built in.
    policy: String,
    /// Sandboxes kept ready.
    pool: u32,
    /// Seconds until the end of a sandbox that named no time.
    timeout_s: u64,
    /// `building`, `ready` or `failed`.
    state: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// When it was made, in Unix milliseconds.
    made_ms: u64,
}

impl From<Template> for TemplateView {
    fn from(t: Template) -> TemplateView {
        let (state, reason) = match t.state {
            TemplateState::Building => ("building", None),
            TemplateState::Ready => ("ready", None),
            TemplateState::Failed { reason } => ("failed", Some(reason)),
        };
        TemplateView {
            id: t.id,
            names: t.names,
            public: t.public,
            source: t.source.into(),
            policy: t.policy,
            pool: t.pool,
            timeout_s: t.timeout_s,
            state,
            reason,
            made_ms: t.made_ms,
        }
    }
}

/// The template that is there without being made.
const BASE: &str = "base";

impl TemplateView {
    /// As it is shown to whoever asks: what a public one says of the host is for admins, and its tenant's own ones are for a tenant.
    fn to(template: Template, admin: bool) -> TemplateView {
        let lent = template.public && !admin;
        let mut view = TemplateView::from(template);
        if !lent {
            return view;
        }
        if let SourceView::Directory(at) | SourceView::Layout(at) = &mut view.source {
            at.clear();
        }
        if view.id != BASE && qila_policy::preset::find(&view.policy).is_none() {
            view.policy.clear();
        }
        view.reason = view.reason.map(|_| "it could not be made".to_owned());
        view
    }
}

/// List the templates that you may use.
#[utoipa::path(get, path = "/v1/templates", tag = "templates",
    responses((status = 200, body = Vec<TemplateView>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(who): Caller,
) -> Result<Json<Vec<TemplateView>>, Problem> {
    let all = app.node.templates(&who.tenant).await?;
    let shown = |t| TemplateView::to(t, who.admin);
    Ok(Json(all.into_iter().map(shown).collect()))
}

/// A template that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateBody {
    /// Names by which it is asked for, beside its id.
    #[serde(default)]
    names: Vec<String>,
    /// Whether every tenant may use it.
    #[serde(default)]
    public: bool,
    /// Where its files come from.
    source: SourceView,
    /// A directory of the host whose files a new sandbox has in its home.
    files: Option<String>,
    /// Its policy, as YAML or as the name of a built-in one.
    policy: String,
    /// Run by a shell in every new sandbox.
    start: Option<String>,
    /// Run by a shell until it succeeds; only then a new sandbox is ready.
    ready: Option<String>,
    /// Sandboxes kept ready.
    #[serde(default)]
    pool: u32,
    /// A Python that is kept warm, of which each sandbox can have forks.
    zygote: Option<ZygoteView>,
    /// Seconds until the end of a sandbox that names no time; 300 if absent.
    timeout_s: Option<u64>,
}

impl TemplateBody {
    /// Whoever chooses a template's policy and files chooses what of this host its sandboxes see and reach: without an admin key,
    /// an image or a snapshot of one's own can become a template, under a built-in policy that uses no credential of the host's.
    fn modest(&self) -> Result<(), Problem> {
        let apart = matches!(self.source, SourceView::Snapshot(_) | SourceView::Image(_));
        if !apart || self.files.is_some() || self.public || self.pool > 0 || self.zygote.is_some() {
            let hint = "without one: an image or a snapshot of yours as `source`, no `files`, not `public`, no `pool`, no `zygote`";
            return Err(Problem::admin_only().hint(hint));
        }
        match qila_policy::preset::policy(&self.policy) {
            Some(Ok(policy)) if policy.credentials.is_empty() => Ok(()),
            _ => {
                Err(Problem::admin_only()
                    .hint("without one: a built-in policy without credentials as `policy`"))
            }
        }
    }
}

/// Make a template of yours, or replace it. It may still be building when this answers.
#[utoipa::path(put, path = "/v1/templates/{template}", tag = "templates", params(("template" = String, Path)),
    request_body = TemplateBody,
    responses((status = 200, body = TemplateView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): At<String>,
    Body { value, .. }: Body<TemplateBody>,
) -> Result<Json<TemplateView>, Problem> {
    if !who.admin {
        value.modest()?;
    }
    // Names of templates have the form of ids.
    let mut named = std::iter::once(&id).chain(&value.names);
    let wrong = |error: BadId| Problem::invalid(error.to_string());
    named
        .try_for_each(|name| SandboxId::parse(name).map(drop))
        .map_err(wrong)?;
    if value.names.len() > NAMES || value.pool > POOL {
        return Err(Problem::invalid(format!(
            "at most {NAMES} names and a pool of {POOL}"
        )));
    }
    let timeout_s = value.timeout_s.unwrap_or(300);
    super::view::time(timeout_s.saturating_mul(1000))?;
    let template = Template {
        host_login: who.admin,
        id,
        names: value.names,
        public: value.public,
        source: value.source.into(),
        files: value.files,
        policy: value.policy,
        start: value.start,
        ready: value.ready,
        pool: value.pool,
        zygote: value.zygote.map(|z| qila_api::Zygote { preload: z.preload }),
        timeout_s,
        state: TemplateState::Building,
        made_ms: now_ms(),
    };
    Ok(Json(app.node.put_template(&who.tenant, template).await?.into()))
}

/// Remove a template of yours. Sandboxes made from it go on.
#[utoipa::path(delete, path = "/v1/templates/{template}", tag = "templates", params(("template" = String, Path)),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): At<String>,
) -> Result<Response, Problem> {
    match app.node.remove_template(&who.tenant, &id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::not_found("there is no such template of yours")),
    }
}
