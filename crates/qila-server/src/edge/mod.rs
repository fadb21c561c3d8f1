//! The edge: requests for ports of sandboxes are told apart before any route is looked at.
mod headers;
mod proxy;
mod rest;
mod target;

pub(crate) use rest::lend;
pub(crate) use target::is_domain;

use crate::app::{App, hold};
use crate::config::Missing;
use crate::gate::Share;
use crate::problem::Problem;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use qila_api::{Kind, Sandbox, SandboxId};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use target::Target;
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt;

/// The port behind which a sandbox's own files and processes are served. It is never a port of the sandbox.
pub(crate) const ENVD: u16 = 49_983;
/// The port before which [`crate::BeforePort`] is asked: cells of code are run behind it.
pub(crate) const INTERPRETER: u16 = 49_999;

/// Answers a request, whatever it is for.
pub(crate) async fn handle(app: App, router: Router, request: Request) -> Response {
    let target = match target::of(&request, app.domain.as_deref()) {
        Ok(None) => {
            let served = router.oneshot(request).await;
            return served.unwrap_or_else(|never| match never {});
        }
        Ok(Some(target)) => target,
        Err(problem) => return problem.into_response(),
    };
    let begun = Instant::now();
    let method = request.method().clone();
    let route = if target.port == ENVD { "envd" } else { "port" };
    let response = match app.port_places.clone().try_acquire_owned() {
        Ok(place) => reach(&app, &target, request, place).await,
        Err(_) => Problem::too_many(
            "the server has all the requests it can hold",
            Duration::from_secs(1),
        )
        .into_response(),
    };
    let took = begun.elapsed();
    app.metrics.answered(&method, route, response.status(), took);
    if let Some(log) = &app.log {
        log(&json!({
            "time_ms": crate::app::now_ms(), "method": method.as_str(), "route": route, "sandbox": target.id,
            "port": target.port, "status": response.status().as_u16(), "ms": (took.as_secs_f64() * 1e6).round() / 1e3,
        }));
    }
    response
}

/// A place among all requests to ports, and among those to the tenant's.
type Place = (OwnedSemaphorePermit, Option<Share>);

async fn reach(app: &App, target: &Target, mut request: Request, place: OwnedSemaphorePermit) -> Response {
    let Ok(id) = SandboxId::parse(&target.id) else {
        return missing(app, target, Missing::Sandbox);
    };
    if target.port == ENVD {
        let Some(envd) = app.envd.clone() else {
            return missing(app, target, Missing::Port);
        };
        // Of one that is not there, envd says so.
        let share = match app.node.find(&id).await {
            Ok(sandbox) => match app.port_shares.take(&sandbox.tenant) {
                None => return crowded(),
                share => share,
            },
            Err(_) => None,
        };
        request.extensions_mut().insert(id);
        let served = envd.oneshot(request).await.unwrap_or_else(|never| match never {});
        return served.map(|body: Body| hold(body, (place, share)));
    }
    let sandbox = match app.node.find(&id).await {
        Ok(sandbox) => sandbox,
        Err(error) if error.kind == Kind::NotFound => return missing(app, target, Missing::Sandbox),
        Err(error) => return Problem::from(error).into_response(),
    };
    if !allowed(&sandbox, &request) {
        let detail = "this sandbox's ports need its traffic token: header `Qila-Traffic-Token` or `E2b-Traffic-Access-Token`";
        return Problem::new(StatusCode::FORBIDDEN, "traffic-token", "No valid token", detail)
            .into_response();
    }
    if target.port == INTERPRETER && !may_run(&sandbox, &request) {
        let detail = "this sandbox runs code only for whoever has its access token: header `X-Access-Token`";
        return Problem::new(StatusCode::UNAUTHORIZED, "access-token", "No valid token", detail)
            .into_response();
    }
    if let (INTERPRETER, Some(before)) = (target.port, &app.before_port)
        && let Err(error) = before(id.clone(), target.port).await
    {
        return Problem::from(error).into_response();
    }
    let Some(share) = app.port_shares.take(&sandbox.tenant) else {
        return crowded();
    };
    proxy::forward(app, &sandbox, target, request, (place, Some(share))).await
}

fn crowded() -> Response {
    let detail = "the sandboxes of this tenant have all the requests they may have at once";
    Problem::too_many(detail, Duration::from_secs(1)).into_response()
}

/// Whether the request shows the sandbox's traffic token, if it has one.
fn allowed(sandbox: &Sandbox, request: &Request) -> bool {
    let Some(token) = &sandbox.traffic_token else {
        return true;
    };
    let shown = headers::TRAFFIC
        .iter()
        .find_map(|name| request.headers().get(*name));
    shown.is_some_and(|value| same(value, token))
}

/// Whether the request may go to the interpreter: it shows the sandbox's access token, if it has one. E2B's SDKs show it where code
/// is run, and not where contexts are made, listed, removed or started anew.
fn may_run(sandbox: &Sandbox, request: &Request) -> bool {
    let Some(token) = &sandbox.access_token else {
        return true;
    };
    match request.headers().get("x-access-token") {
        Some(shown) => same(shown, token),
        None => is_of_contexts(request.uri().path()),
    }
}

/// `/contexts`, `/contexts/ID` or `/contexts/ID/restart`, written as the interpreter reads them.
fn is_of_contexts(path: &str) -> bool {
    let id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match path.strip_prefix("/contexts") {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('/')
            .is_some_and(|rest| id(rest.strip_suffix("/restart").unwrap_or(rest))),
        None => false,
    }
}

/// Hashes are compared: how long that takes says nothing.
fn same(shown: &HeaderValue, token: &SecretString) -> bool {
    Sha256::digest(shown.as_bytes()) == Sha256::digest(token.expose_secret().as_bytes())
}

/// The answer for what is not there.
fn missing(app: &App, target: &Target, what: Missing) -> Response {
    if let Some(answer) = &app.not_found {
        return answer(&target.id, target.port, what);
    }
    let (status, message) = match what {
        Missing::Sandbox => (StatusCode::NOT_FOUND, "The sandbox was not found"),
        Missing::Port => (
            StatusCode::BAD_GATEWAY,
            "The sandbox is there, and nothing listens on the port",
        ),
    };
    let body = json!({"sandboxId": target.id, "port": target.port, "message": message, "code": 502});
    (status, axum::Json(body)).into_response()
}
