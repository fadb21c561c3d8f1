//! What all requests share, and the routes put together.
use crate::config::{BeforePort, Config, Limits, Log, NotFound};
use crate::gate::{Rates, Shares, bound_control, record, require_key};
use crate::key::Keyring;
use crate::metrics::Metrics;
use crate::once::Once;
use crate::problem::Problem;
use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};
use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Frame, SizeHint};
use qila_api::Node;
use qila_store::Store;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What all requests share.
pub(crate) type App = Arc<Shared>;

/// What all requests share.
pub(crate) struct Shared {
    pub node: Arc<dyn Node>,
    pub store: Store,
    pub keys: Keyring,
    pub limits: Limits,
    pub rates: Rates,
    /// Places for requests of the native API and the control plane.
    pub places: Arc<Semaphore>,
    /// How many of them one tenant may hold.
    pub shares: Arc<Shares>,
    /// Places for requests to ports.
    pub port_places: Arc<Semaphore>,
    /// How many of them those to one tenant's sandboxes may hold.
    pub port_shares: Arc<Shares>,
    pub once: Once,
    pub metrics: Metrics,
    pub domain: Option<String>,
    pub tls: bool,
    pub envd: Option<Router>,
    pub before_port: Option<BeforePort>,
    pub not_found: Option<NotFound>,
    pub log: Option<Log>,
    /// Cancelled when the end was asked for: streams without an end of their own end.
    pub ending: CancellationToken,
}

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub SocketAddr);

impl Shared {
    pub fn new(config: &Config, ending: CancellationToken) -> App {
        Arc::new(Shared {
            node: Arc::clone(&config.node),
            store: config.store.clone(),
            keys: Keyring(config.store.clone()),
            limits: config.limits,
            rates: Rates::new(config.limits.rate, config.limits.burst),
            places: Arc::new(Semaphore::new(config.limits.requests)),
            shares: Shares::new(config.limits.requests),
            port_places: Arc::new(Semaphore::new(config.limits.ports)),
            port_shares: Shares::new(config.limits.ports),
            once: Once::default(),
            metrics: Metrics::default(),
            domain: config.domain.as_ref().map(|d| d.to_ascii_lowercase()),
            tls: config.tls.is_some(),
            envd: config.envd.clone(),
            before_port: config.before_port.clone(),
            not_found: config.not_found.clone(),
            log: config.log.clone(),
            ending,
        })
    }
}

/// All routes.
pub(crate) fn router(app: &App, control: Option<Router>) -> Router {
    let with_key = from_fn_with_state(Arc::clone(app), require_key);
    let (v1, _) = crate::v1::routes(app.limits.request).split_for_parts();
    let v1 = v1.route("/v1/{*rest}", any(nothing)).layer(with_key);
    let rest = Router::new()
        .route("/healthz", get(crate::health::healthz))
        .route("/metrics", get(crate::health::metrics))
        .route("/openapi.json", get(crate::openapi::openapi));
    let recorded = from_fn_with_state(Arc::clone(app), record);
    let router = v1
        .merge(rest)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(app));
    match control {
        None => router.fallback(nothing).layer(recorded),
        Some(control) => {
            let bounded = from_fn_with_state(Arc::clone(app), bound_control);
            let control = control.layer(bounded).layer(recorded.clone());
            router.layer(recorded).fallback_service(control)
        }
    }
}

async fn nothing() -> Problem {
    Problem::not_found("there is no such route").hint("the routes are in /openapi.json")
}

async fn wrong_method() -> Problem {
    let detail = "this route does not take this method";
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "Not this method",
        detail,
    )
}

/// A body that keeps a place until it has been sent or given up.
struct Held<T> {
    body: Body,
    _place: T,
}

impl<T: Unpin> hyper::body::Body for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Keeps the place until the body has been sent or given up.
pub(crate) fn hold<T: Send + Unpin + 'static>(body: Body, place: T) -> Body {
    Body::new(Held { body, _place: place })
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
