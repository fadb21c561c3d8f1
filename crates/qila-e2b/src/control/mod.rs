//! The control plane: sandboxes, snapshots and templates.
mod builds;
mod caller;
mod create;
mod error;
mod fork;
mod json;
mod lifecycle;
mod list;
mod network;
mod observe;
mod once;
mod origin;
mod query;
mod snapshots;
mod teams;
mod templates;
mod view;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, post, put};
use http::StatusCode;
use qila_api::{Authenticator, Node};
use std::sync::Arc;

/// What all requests have in common.
struct Shared {
    node: Arc<dyn Node>,
    keys: Arc<dyn Authenticator>,
    /// `PORT-ID.DOMAIN` leads to a sandbox's port, if it is known.
    domain: Option<String>,
    builds: builds::Builds,
    once: once::Once,
}

type Plane = Arc<Shared>;

/// Largest body of a request in bytes.
const MAX_BODY: usize = 1 << 20;

/// Serves the control plane. `domain`: what SDKs are told to put behind `PORT-ID.`; none: `localhost` and the port that the
/// request came to, which leads here wherever `*.localhost` is this host.
pub fn control(node: Arc<dyn Node>, keys: Arc<dyn Authenticator>, domain: Option<String>) -> Router {
    let plane = Arc::new(Shared {
        node,
        keys,
        domain,
        builds: builds::Builds::default(),
        once: once::Once::default(),
    });
    Router::new()
        .route("/health", get(async || StatusCode::NO_CONTENT))
        .route("/sandboxes", get(list::running).post(create::create))
        .route("/v2/sandboxes", get(list::all).post(create::create_secure))
        .route("/sandboxes/metrics", get(observe::metrics_of_many))
        .route("/sandboxes/{id}", get(lifecycle::detail).delete(lifecycle::kill))
        .route("/sandboxes/{id}/timeout", post(lifecycle::timeout))
        .route("/sandboxes/{id}/refreshes", post(lifecycle::refresh))
        .route("/sandboxes/{id}/pause", post(lifecycle::pause))
        .route("/sandboxes/{id}/resume", post(lifecycle::resume))
        .route("/sandboxes/{id}/connect", post(lifecycle::connect))
        .route("/v2/sandboxes/{id}/connect", post(lifecycle::connect))
        .route("/sandboxes/{id}/fork", post(fork::fork))
        .route("/sandboxes/{id}/network", put(network::update))
        .route("/sandboxes/{id}/snapshots", post(snapshots::take))
        .route("/sandboxes/{id}/metrics", get(observe::metrics))
        .route("/sandboxes/{id}/logs", get(observe::logs))
        .route("/v2/sandboxes/{id}/logs", get(observe::logs_v2))
        .route("/snapshots", get(snapshots::list))
        .route("/templates", get(templates::list))
        .route("/v2/templates", get(templates::list))
        .route("/v3/templates", post(builds::request))
        .route("/v2/templates/{id}/builds/{build}", post(builds::begin))
        .route("/templates/{id}/builds/{build}/status", get(builds::status))
        .route("/templates/{id}/builds/{build}/logs", get(builds::logs))
        .route("/templates/{id}/files/{hash}", get(builds::files))
        .route("/templates/aliases/{alias}", get(templates::alias))
        .route(
            "/templates/{id}",
            delete(templates::remove).get(templates::detail),
        )
        .route("/teams", get(teams::teams))
        .route("/api-keys", get(teams::keys).post(teams::keys))
        .fallback(async || error::Refusal::new(StatusCode::NOT_FOUND, "there is no such route here"))
        .method_not_allowed_fallback(async || {
            error::Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this route does not know that method",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(plane)
}
