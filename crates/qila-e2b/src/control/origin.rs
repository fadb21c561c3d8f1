//! The domain that an SDK is told to put behind `PORT-ID.`.
use super::{Plane, Shared};
use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use std::convert::Infallible;
use std::sync::Arc;

/// The domain under which the ports of sandboxes are, with a port where it needs one.
#[derive(Debug)]
pub(super) struct Origin(pub String);

impl FromRequestParts<Arc<Shared>> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, plane: &Plane) -> Result<Origin, Infallible> {
        if let Some(domain) = &plane.domain {
            return Ok(Origin(domain.clone()));
        }
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("");
        let port = match parts.uri.port_u16() {
            Some(port) => Some(port),
            None => host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
        };
        Ok(Origin(match port {
            Some(port) => format!("localhost:{port}"),
            None => "localhost".into(),
        }))
    }
}
