//! One line of the log and one count for each request; a name for it; a bound for how many there are.
use crate::app::App;
use crate::problem::Problem;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue};
use qila_api::Tenant;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// The tenant of a request, for its line in the log.
#[derive(Debug, Clone)]
pub(crate) struct Whose(pub Tenant);

/// A place among all requests, until the last of its owners drops it.
#[derive(Clone)]
pub(crate) struct Place(#[expect(dead_code, reason = "it is kept, not read")] Arc<OwnedSemaphorePermit>);

const REQUEST_ID: &str = "x-request-id";

/// Goes around every route. The place of a request among the others is kept until its body has been sent.
pub(crate) async fn record(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = name(request.headers());
    let method = request.method().clone();
    // Only the route, not the path: what clients make up must not become labels.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", MatchedPath::as_str)
        .to_owned();
    let mut response = match app.places.clone().try_acquire_owned() {
        Ok(place) => {
            let place = Place(Arc::new(place));
            request.extensions_mut().insert(place.clone());
            let mut headers = std::mem::take(request.headers_mut());
            headers.insert(REQUEST_ID, id.clone());
            *request.headers_mut() = headers;
            let response = next.run(request).await;
            response.map(|body| crate::app::hold(body, place))
        }
        Err(_) => Problem::too_many(
            "the server has all the requests it can hold",
            Duration::from_secs(1),
        )
        .into_response(),
    };
    let took = begun.elapsed();
    app.metrics.answered(&method, &route, response.status(), took);
    if let Some(log) = &app.log {
        let tenant = response
            .extensions()
            .get::<Whose>()
            .map(|w| w.0.as_str().to_owned());
        let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        log(&json!({
            "time_ms": crate::app::now_ms(), "request": id.to_str().unwrap_or(""), "method": method.as_str(),
            "route": route, "tenant": tenant, "status": response.status().as_u16(), "ms": ms,
        }));
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The client's own name for the request if it is a sound one, else a new one.
fn name(headers: &HeaderMap) -> HeaderValue {
    let own = headers.get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        let sound = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !bytes.is_empty() && bytes.len() <= 64 && bytes.iter().all(sound)
    });
    own.cloned().unwrap_or_else(|| {
        let mut bytes = [0_u8; 16];
        // Without random bytes it is a name that is no use, and the request goes on.
        let _ = getrandom::fill(&mut bytes);
        HeaderValue::from_str(&format!("{:032x}", u128::from_ne_bytes(bytes)))
            .unwrap_or(HeaderValue::from_static("none"))
    })
}
