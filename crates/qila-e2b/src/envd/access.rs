//! Who may speak to a sandbox's processes and files.
use super::{Envd, plain, user};
use crate::connect::Fault;
use crate::sandbox_not_found;
use crate::secret::{Signed, is_signed, same};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use qila_api::{ApiError, Kind, SandboxId, State, Tenant};

/// A sandbox that may be spoken to.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub id: SandboxId,
    pub tenant: Tenant,
    pub envd: Handle,
}

/// The node and what is kept of watchers and streams.
#[derive(Clone)]
pub(super) struct Handle(pub Envd);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Envd")
    }
}

/// Which sandbox a request is for.
fn meant(parts: &Parts) -> Option<SandboxId> {
    if let Some(id) = parts.extensions.get::<SandboxId>() {
        return Some(id.clone());
    }
    let header = parts.headers.get("e2b-sandbox-id")?.to_str().ok()?;
    SandboxId::parse(header).ok()
}

fn unauthorized(message: &str) -> Box<Response> {
    Box::new(plain::say(StatusCode::UNAUTHORIZED, message).into_response())
}

/// Lets a request in, or says why not. `signed`: what its URL was signed for, where it may be.
pub(super) async fn admit(
    envd: &Envd,
    parts: &Parts,
    signed: Option<&Signed<'_>>,
) -> Result<Access, Box<Response>> {
    let Some(id) = meant(parts) else {
        return Err(Box::new(sandbox_not_found("")));
    };
    let sandbox = match envd.node.find(&id).await {
        Ok(sandbox) => sandbox,
        Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone) => {
            return Err(Box::new(sandbox_not_found(id.as_str())));
        }
        Err(e) => return Err(Box::new(plain::error(&e))),
    };
    if let Some(token) = &sandbox.access_token {
        let shown = parts.headers.get("x-access-token").and_then(|v| v.to_str().ok());
        let valid = match (shown, signed) {
            (Some(shown), _) => same(shown, token),
            (None, Some(signed)) if !signed.signature.is_empty() => {
                if !is_signed(signed, token) {
                    return Err(unauthorized("the signature is not valid"));
                }
                let now = i64::try_from(crate::time::now_ms() / 1000).unwrap_or(i64::MAX);
                if signed.expires.is_some_and(|at| at < now) {
                    return Err(unauthorized("the signature has expired"));
                }
                true
            }
            _ => return Err(unauthorized("an access token is needed in `X-Access-Token`")),
        };
        if !valid {
            return Err(unauthorized("the access token is not the sandbox's"));
        }
    }
    let name = user::named(&parts.headers)
        .map_err(unauthorized)?
        .unwrap_or_default();
    if !user::is_known(&name) {
        let what = format!(
            "there is no user `{}`: `user` is, and `root` is another name for it",
            name.escape_debug()
        );
        return Err(unauthorized(&what));
    }
    Ok(Access {
        id,
        tenant: sandbox.tenant,
        envd: Handle(envd.clone()),
    })
}

impl Access {
    /// The node.
    pub(super) fn node(&self) -> &dyn qila_api::Node {
        self.envd.0.node.as_ref()
    }

    /// An error with what it means for this sandbox: one that is paused is not found, as it is at E2B.
    pub(super) async fn explain(&self, error: ApiError) -> ApiError {
        if matches!(error.kind, Kind::Conflict | Kind::NotFound | Kind::Gone) {
            match self.node().find(&self.id).await {
                Ok(sandbox) if sandbox.state == State::Paused => {
                    return ApiError::new(Kind::Gone, "The sandbox was not found: it is paused");
                }
                Err(e) if matches!(e.kind, Kind::NotFound | Kind::Gone) => {
                    return ApiError::new(Kind::Gone, "The sandbox was not found: it has ended");
                }
                _ => {}
            }
        }
        error
    }

    /// The same, for Connect.
    pub(super) async fn fault(&self, error: ApiError) -> Fault {
        self.explain(error).await.into()
    }
}
