//! Keys, for admins.
use crate::app::{App, now_ms};
use crate::body::{Asked, At, Body};
use crate::gate::{Admin, Caller};
use crate::key::mint;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qila_api::Tenant;
use qila_store::{KeyRow, NewKey};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Characters that a key's name may have.
const NAME: usize = 200;

/// A key that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyBody {
    /// What it is for.
    name: String,
    /// For whom; absent: for your own tenant.
    tenant: Option<String>,
    /// Whether it may look after tenants, keys and templates of all.
    #[serde(default)]
    admin: bool,
    /// Seconds until it ends; absent: it does not.
    expires_s: Option<u64>,
}

/// A key, without what is secret of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    /// Its id.
    id: String,
    /// For whom it is.
    tenant: String,
    /// What it is for.
    name: String,
    /// Whether it may look after tenants, keys and templates of all.
    admin: bool,
    /// When it was made, in Unix milliseconds.
    made_ms: u64,
    /// When it ends, in Unix milliseconds.
    expires_ms: Option<u64>,
}

impl From<KeyRow> for KeyView {
    fn from(row: KeyRow) -> KeyView {
        KeyView {
            id: row.id,
            tenant: row.tenant.into(),
            name: row.name,
            admin: row.admin,
            made_ms: row.made_ms,
            expires_ms: row.expires_ms,
        }
    }
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeKey {
    /// Its id.
    id: String,
    /// The key. It is shown this once.
    key: String,
}

/// Make a key. It needs an admin key.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = KeyBody,
    responses((status = 201, body = MadeKey), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    _: Admin,
    Caller(who): Caller,
    Body { value, .. }: Body<KeyBody>,
) -> Result<(StatusCode, Json<MadeKey>), Problem> {
    if value.name.chars().count() > NAME {
        return Err(Problem::invalid(format!("name: at most {NAME} characters")));
    }
    let minted = mint()?;
    let new = NewKey {
        id: minted.id.clone(),
        tenant: value.tenant.map_or(Ok(who.tenant), |t| Tenant::parse(&t))?,
        hash: minted.hash,
        name: value.name,
        admin: value.admin,
        expires_ms: value
            .expires_s
            .map(|s| now_ms().saturating_add(s.saturating_mul(1000))),
    };
    app.store.add_key(new).await?;
    let made = MadeKey {
        id: minted.id,
        key: minted.secret.expose_secret().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Whose keys are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    /// Of this tenant; absent: of your own.
    tenant: Option<String>,
}

/// List keys of a tenant, those included that have ended. It needs an admin key.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(KeysQuery),
    responses((status = 200, body = Vec<KeyView>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    _: Admin,
    Caller(who): Caller,
    Asked(query): Asked<KeysQuery>,
) -> Result<Json<Vec<KeyView>>, Problem> {
    let tenant = query.tenant.map_or(Ok(who.tenant), |t| Tenant::parse(&t))?;
    let rows = app.store.keys(&tenant).await?;
    Ok(Json(rows.into_iter().map(KeyView::from).collect()))
}

/// End a key for good, at once. It needs an admin key.
#[utoipa::path(delete, path = "/v1/keys/{key}", tag = "keys", params(("key" = String, Path)),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke(
    State(app): State<App>,
    _: Admin,
    At(id): At<String>,
) -> Result<Response, Problem> {
    match app.store.revoke_key(&id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::not_found("there is no such key")),
    }
}
