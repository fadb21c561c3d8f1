//! Who asks.
use crate::app::{App, hold};
use crate::gate::record::Whose;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use qila_api::{Authenticator, Principal};
use secrecy::SecretString;
use serde_json::json;
use std::time::Duration;

const RATE: &str = "more requests than this tenant may make";
const ALL: &str = "this tenant has all the requests it may have at once";
/// When to come again.
const MOMENT: Duration = Duration::from_secs(1);

/// Holder of a valid key.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Principal);

/// Holder of an admin key.
#[derive(Debug, Clone)]
pub(crate) struct Admin;

/// Lets nobody past without a valid key, nor beyond the tenant's rate.
pub(crate) async fn require_key(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let principal = match who(&app, request.headers()).await {
        Ok(principal) => principal,
        Err(problem) => return problem.into_response(),
    };
    let whose = Whose(principal.tenant.clone());
    if let Err(after) = app.rates.take(&principal.tenant) {
        let mut response = Problem::too_many(RATE, after).into_response();
        response.extensions_mut().insert(whose);
        return response;
    }
    let Some(share) = app.shares.take(&principal.tenant) else {
        let mut response = Problem::too_many(ALL, MOMENT).into_response();
        response.extensions_mut().insert(whose);
        return response;
    };
    request.extensions_mut().insert(Caller(principal));
    request.extensions_mut().insert(share.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(whose);
    response.map(|body| hold(body, share))
}

/// Bounds a request of the control plane as one of the native API is bounded. Whether its key is good, the control plane
/// says itself, in its own words.
pub(crate) async fn bound_control(State(app): State<App>, request: Request, next: Next) -> Response {
    let whose = match who(&app, request.headers()).await {
        Ok(principal) => {
            if let Err(after) = app.rates.take(&principal.tenant) {
                return in_their_words(Problem::too_many(RATE, after));
            }
            match app.shares.take(&principal.tenant) {
                Some(share) => Some((Whose(principal.tenant), share)),
                None => return in_their_words(Problem::too_many(ALL, MOMENT)),
            }
        }
        Err(_) => None,
    };
    let answered = tokio::time::timeout(app.limits.request, next.run(request)).await;
    let mut response =
        answered.unwrap_or_else(|_| in_their_words(Problem::timeout("the request took longer than it may")));
    if let Some((whose, share)) = whose {
        response.extensions_mut().insert(whose);
        response = response.map(|body| hold(body, share));
    }
    response
}

/// E2B's SDKs read `code` and `message`.
fn in_their_words(problem: Problem) -> Response {
    let body = json!({"code": problem.status, "message": problem.detail});
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(body.to_string());
    response
}

/// Whose key is shown.
pub(crate) async fn who(app: &App, headers: &HeaderMap) -> Result<Principal, Problem> {
    let Some(key) = shown(headers) else {
        return Err(Problem::unauthorized());
    };
    app.keys
        .authenticate(&key)
        .await?
        .ok_or_else(Problem::unauthorized)
}

/// The key of a request. Two that differ are none.
fn shown(headers: &HeaderMap) -> Option<SecretString> {
    let one = |name: &str| {
        let mut all = headers.get_all(name).iter();
        let value = all.next()?.to_str().ok()?;
        all.next().is_none().then_some(value)
    };
    let bearer = one(header::AUTHORIZATION.as_str()).and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let key = match (bearer, one("x-api-key")) {
        (Some(a), Some(b)) if a != b => return None,
        (a, b) => a.or(b)?,
    };
    Some(SecretString::from(key))
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(Problem::unauthorized)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Admin, Problem> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        if principal.admin {
            Ok(Admin)
        } else {
            Err(Problem::admin_only())
        }
    }
}
