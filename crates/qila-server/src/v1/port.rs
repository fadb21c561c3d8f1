//! How a port of a sandbox is reached.
use crate::app::App;
use crate::body::At;
use crate::edge::{ENVD, INTERPRETER};
use crate::gate::Caller;
use crate::problem::Problem;
use axum::Json;
use axum::extract::State;
use http::{HeaderMap, header};
use qila_api::SandboxId;
use secrecy::ExposeSecret;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The two ways to a port.
#[derive(Serialize, ToSchema)]
#[schema(as = Port)]
pub(crate) struct PortView {
    /// Its address of its own.
    url: String,
    /// Headers with which it is reached at this server's address instead.
    headers: BTreeMap<&'static str, String>,
}

/// Say how a port is reached. Whether anything listens on it is not asked.
#[utoipa::path(get, path = "/v1/sandboxes/{sandbox}/ports/{port}", tag = "ports",
    params(("sandbox" = String, Path), ("port" = u16, Path)),
    responses((status = 200, body = PortView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn describe(
    State(app): State<App>,
    Caller(who): Caller,
    At((id, port)): At<(SandboxId, u16)>,
    headers: HeaderMap,
) -> Result<Json<PortView>, Problem> {
    let sandbox = app.node.get(&who.tenant, &id).await?;
    if port == 0 {
        return Err(Problem::not_found("there is no port 0"));
    }
    let domain = app.domain.as_deref().unwrap_or("localhost");
    let scheme = if app.tls { "https" } else { "http" };
    // The port of this server, as the client itself knows it.
    let own = headers
        .get(header::HOST)
        .and_then(|h| h.to_str().ok())
        .and_then(|h| h.rsplit_once(':'));
    let own = own
        .and_then(|(_, port)| port.parse::<u16>().ok())
        .map(|p| format!(":{p}"))
        .unwrap_or_default();
    let mut needed = BTreeMap::from([("Qila-Sandbox", id.to_string()), ("Qila-Port", port.to_string())]);
    if let Some(token) = &sandbox.traffic_token {
        needed.insert("Qila-Traffic-Token", token.expose_secret().to_owned());
    }
    let token = sandbox.access_token.as_ref();
    if let Some(token) = token.filter(|_| matches!(port, ENVD | INTERPRETER)) {
        needed.insert("X-Access-Token", token.expose_secret().to_owned());
    }
    Ok(Json(PortView {
        url: format!("{scheme}://{port}-{id}.{domain}{own}/"),
        headers: needed,
    }))
}
