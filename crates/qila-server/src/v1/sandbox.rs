//! Making, finding and ending sandboxes.
use super::view::{self, Listed, OnTimeoutView, SandboxView};
use crate::app::App;
use crate::body::{Asked, At, Body, Sandbox};
use crate::gate::Caller;
use crate::once;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use qila_api::{Create, Filter, NetworkWish};
use serde::Deserialize;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// What a sandbox may reach: it narrows what its template's policy allows.
#[derive(Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NetworkBody {
    /// False: nothing at all leaves.
    internet: Option<bool>,
    /// If not empty: only these host names (`*.` before one stands for all beneath it), IPv4 addresses and networks.
    allow: Vec<String>,
    /// None of these.
    deny: Vec<String>,
}

/// A sandbox that is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Template, by name or id; `base` if none is named.
    #[serde(default = "base")]
    template: String,
    /// Milliseconds until it ends or is paused; absent: the template's.
    #[schema(maximum = 31_622_400_000_u64)]
    timeout_ms: Option<u64>,
    /// What happens then.
    #[serde(default)]
    on_timeout: OnTimeoutView,
    /// Whether a paused one comes back by itself when it is spoken to.
    #[serde(default)]
    auto_resume: bool,
    /// Your own words about it.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// Environment variables of every process in it.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// What it may reach.
    #[serde(default)]
    network: NetworkBody,
    /// Whether it has an access token of its own.
    #[serde(default)]
    secure: bool,
    /// Whether its ports need its traffic token.
    #[serde(default)]
    private_ports: bool,
}

fn base() -> String {
    "base".to_owned()
}

/// Make a sandbox. It is ready when this answers.
#[utoipa::path(post, path = "/v1/sandboxes", tag = "sandboxes", request_body = CreateBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a repeated request answer what the first was answered.")),
    responses((status = 201, body = SandboxView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    Caller(who): Caller,
    headers: HeaderMap,
    Body { value: body, bytes }: Body<CreateBody>,
) -> Result<Response, Problem> {
    let key = once::key(&headers)?;
    let wish = Create {
        template: body.template,
        timeout: body.timeout_ms.map(view::time).transpose()?,
        on_timeout: body.on_timeout.into(),
        auto_resume: body.auto_resume,
        metadata: body.metadata,
        environment: body.environment,
        network: NetworkWish {
            internet: body.network.internet,
            allow: body.network.allow,
            deny: body.network.deny,
        },
        secure: body.secure,
        private_ports: body.private_ports,
        idempotency_key: key.clone(),
    };
    let (node, tenant) = (app.node.clone(), who.tenant.clone());
    let work = async move { Ok(SandboxView::from(node.create(&tenant, wish).await?)) };
    Ok(once::once(&app, &who.tenant, key, "create", &bytes, work).await)
}

/// What a list is narrowed to.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only these states, separated by commas: `running`, `paused`.
    state: Option<String>,
    /// Only those of this template, by name or id.
    template: Option<String>,
    /// Only those whose metadata has all of these: `key=value&key=value`, percent-encoded as one value.
    metadata: Option<String>,
    /// At most so many, from 1 to 1,000; 100 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the list goes on, as the part before it said in `next`.
    after: Option<String>,
}

/// List sandboxes, newest first.
#[utoipa::path(get, path = "/v1/sandboxes", tag = "sandboxes", params(ListQuery),
    responses((status = 200, body = Listed<SandboxView>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    Caller(who): Caller,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Listed<SandboxView>>, Problem> {
    let mut filter = Filter {
        template: query.template,
        ..Filter::default()
    };
    for state in query.state.iter().flat_map(|s| s.split(',')) {
        filter.states.push(match state {
            "running" => qila_api::State::Running,
            "paused" => qila_api::State::Paused,
            other => {
                return Err(Problem::invalid(format!(
                    "state: `{other}` is neither running nor paused"
                )));
            }
        });
    }
    if let Some(text) = &query.metadata {
        let pairs = format!("/?{text}")
            .parse()
            .map_err(|_| Problem::invalid("metadata: no `key=value`"))?;
        let pairs = axum::extract::Query::<BTreeMap<String, String>>::try_from_uri(&pairs);
        filter.metadata = pairs.map_err(|_| Problem::invalid("metadata: no `key=value`"))?.0;
    }
    let (limit, after) = (view::limit(query.limit)?, view::cursor(query.after)?);
    Ok(Json(Listed::of(
        app.node.list(&who.tenant, &filter, limit, after).await?,
    )))
}

/// Show a sandbox.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}", tag = "sandboxes", params(("sandbox" = String, Path)),
    responses((status = 200, body = SandboxView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
) -> Result<Json<SandboxView>, Problem> {
    Ok(Json(app.node.get(&who.tenant, &id).await?.into()))
}

/// End a sandbox. What it held is gone.
#[utoipa::path(delete, path = "/v1/sandboxes/{sandbox}", tag = "sandboxes", params(("sandbox" = String, Path)),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn kill(
    State(app): State<App>,
    Caller(who): Caller,
    At(id): Sandbox,
) -> Result<Response, Problem> {
    match app.node.kill(&who.tenant, &id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::not_found(format!("there is no sandbox `{id}`"))),
    }
}
