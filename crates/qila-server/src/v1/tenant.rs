//! Tenants and what they may have, for admins.
use crate::app::App;
use crate::body::{At, Body};
use crate::gate::{Admin, Caller};
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use qila_api::{ApiError, Kind, Quota, Tenant};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most that a tenant may have at once. What is absent has no bound but the machine's own.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Quota)]
pub(crate) struct QuotaView {
    /// Sandboxes.
    sandboxes: Option<u32>,
    /// Processors of all of them together, in thousandths.
    cpu_milli: Option<u64>,
    /// Memory of all of them together, MiB.
    memory_mib: Option<u64>,
    /// Disk of all of them together, MiB.
    disk_mib: Option<u64>,
    /// Share of the processors relative to other tenants, from 1 to 10,000; 100 is usual.
    weight: Option<u32>,
}

impl From<Quota> for QuotaView {
    fn from(q: Quota) -> QuotaView {
        let bound = |n: u64| (n != u64::MAX).then_some(n);
        QuotaView {
            sandboxes: (q.sandboxes != u32::MAX).then_some(q.sandboxes),
            cpu_milli: bound(q.cpu_milli),
            memory_mib: bound(q.memory_mib),
            disk_mib: bound(q.disk_mib),
            weight: Some(q.weight),
        }
    }
}

impl QuotaView {
    fn quota(&self) -> Result<Quota, Problem> {
        let none = Quota::NONE;
        let weight = self.weight.unwrap_or(none.weight);
        if !(1..=10_000).contains(&weight) {
            return Err(Problem::invalid("weight: not from 1 to 10000"));
        }
        Ok(Quota {
            sandboxes: self.sandboxes.unwrap_or(none.sandboxes),
            cpu_milli: self.cpu_milli.unwrap_or(none.cpu_milli),
            memory_mib: self.memory_mib.unwrap_or(none.memory_mib),
            disk_mib: self.disk_mib.unwrap_or(none.disk_mib),
            weight,
        })
    }
}

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    /// Its name.
    tenant: String,
    /// What it may have.
    quota: QuotaView,
}

/// List tenants. It needs an admin key.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants",
    responses((status = 200, body = Vec<TenantView>), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>, _: Admin) -> Result<Json<Vec<TenantView>>, Problem> {
    let view = |(tenant, quota): (Tenant, Quota)| TenantView {
        tenant: tenant.into(),
        quota: quota.into(),
    };
    Ok(Json(app.store.tenants().await?.into_iter().map(view).collect()))
}

/// Make a tenant, or give one another quota. It needs an admin key.
#[utoipa::path(put, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)), request_body = QuotaView,
    responses((status = 200, body = TenantView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put(
    State(app): State<App>,
    _: Admin,
    At(tenant): At<String>,
    Body { value, .. }: Body<QuotaView>,
) -> Result<Json<TenantView>, Problem> {
    let tenant = Tenant::parse(&tenant).map_err(|error| Problem::invalid(error.to_string()))?;
    let quota = value.quota()?;
    app.store.put_tenant(tenant.clone(), quota).await?;
    Ok(Json(TenantView {
        tenant: tenant.into(),
        quota: quota.into(),
    }))
}

/// Remove a tenant that has nothing any more, and its keys. It needs an admin key, of another tenant.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = String, Path)),
    responses((status = 204), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn remove(
    State(app): State<App>,
    _: Admin,
    Caller(who): Caller,
    At(tenant): At<Tenant>,
) -> Result<Response, Problem> {
    if tenant == who.tenant {
        return Err(ApiError::new(
            Kind::Conflict,
            "a tenant cannot remove itself, and with it the key that asks",
        )
        .into());
    }
    match app.store.remove_tenant(&tenant).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::not_found("there is no such tenant")),
    }
}
