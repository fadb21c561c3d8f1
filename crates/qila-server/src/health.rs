//! Whether all is well, and what is counted. Neither needs a key on this machine.
use crate::app::{App, Peer};
use crate::gate;
use crate::metrics::{gauge, heading};
use crate::problem::Problem;
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use qila_api::{Filter, SandboxId, State as Is};
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

/// How long a part may take to say that it is alive.
const PATIENCE: Duration = Duration::from_secs(5);
/// Sandboxes that are counted at a time, and so many times at most.
const PAGE: usize = 1_000;
const PAGES: usize = 100;

/// `GET /healthz`: whether the store can be written and the node answers.
pub(crate) async fn healthz(State(app): State<App>) -> Response {
    let store = matches!(
        tokio::time::timeout(PATIENCE, app.store.probe()).await,
        Ok(Ok(()))
    );
    let node = node_answers(&app).await;
    let ending = app.ending.is_cancelled();
    let well = store && node && !ending;
    let status = if well {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        axum::Json(json!({"ok": well, "store": store, "node": node, "draining": ending})),
    )
        .into_response()
}

/// A node that is alive says of a sandbox that nobody has that it is not there.
async fn node_answers(app: &App) -> bool {
    let Ok(nobody) = SandboxId::parse("0-nobody") else {
        return false;
    };
    match tokio::time::timeout(PATIENCE, app.node.find(&nobody)).await {
        Err(_) => false,
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind != qila_api::Kind::Internal,
    }
}

/// `GET /metrics`: to this machine, or to an admin key.
pub(crate) async fn metrics(
    State(app): State<App>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Response {
    let near = peer.is_some_and(|Extension(Peer(address))| address.ip().is_loopback());
    let relayed = headers.contains_key("x-forwarded-for") || headers.contains_key(header::FORWARDED);
    if !near || relayed {
        match gate::who(&app, &headers).await {
            Err(problem) => return problem.into_response(),
            Ok(principal) if !principal.admin => return Problem::admin_only().into_response(),
            Ok(_) => {}
        }
    }
    let mut text = app.metrics.text();
    gauge(
        &mut text,
        "qila_store_queue",
        "Requests that wait to be written.",
        app.store.queue_depth(),
    );
    let taken = |all: usize, free: usize| all.saturating_sub(free);
    let requests = taken(app.limits.requests, app.places.available_permits());
    gauge(
        &mut text,
        "qila_http_requests_active",
        "Requests under way, streams included.",
        requests,
    );
    let ports = taken(app.limits.ports, app.port_places.available_permits());
    gauge(
        &mut text,
        "qila_port_requests_active",
        "Requests to ports under way.",
        ports,
    );
    match count(&app).await {
        Ok((running, paused)) => {
            heading(&mut text, "qila_sandboxes", "gauge", "Sandboxes by state.");
            let _ = writeln!(text, "qila_sandboxes{{state=\"running\"}} {running}");
            let _ = writeln!(text, "qila_sandboxes{{state=\"paused\"}} {paused}");
        }
        Err(problem) => return problem.into_response(),
    }
    heading(&mut text, "qila_build_info", "gauge", "Version.");
    let _ = writeln!(
        text,
        "qila_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn count(app: &App) -> Result<(usize, usize), Problem> {
    let (mut running, mut paused) = (0, 0);
    for (tenant, _) in app.store.tenants().await? {
        let mut after = None;
        for _ in 0..PAGES {
            let page = app.node.list(&tenant, &Filter::default(), PAGE, after).await?;
            let live = page.items.iter().filter(|s| s.state == Is::Running).count();
            running += live;
            paused += page.items.len() - live;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    Ok((running, paused))
}
