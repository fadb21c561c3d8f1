//! Asking a provider: one request on a connection of its own, no redirect, everything bounded.
use crate::destination::Destination;
use crate::dial::Dialler;
use crate::tls::Outward;
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use qila_lease::{Call, MAX_REPLY, Url};
use qila_policy::model::HostName;
use std::cell::Cell;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

/// Longest time that a provider may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a provider answers: its status, and its body.
pub(super) type Reply = (u16, Zeroizing<Vec<u8>>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct SendError {
    what: String,
    /// Whether the provider may have been asked all the same.
    pub(super) sent: bool,
}

/// How providers are reached.
pub(super) struct Ways {
    pub(super) dialler: Dialler,
    pub(super) outward: Outward,
}

impl Ways {
    /// Sends a call.
    pub(super) async fn send(&self, call: &Call) -> Result<Reply, SendError> {
        let sent = Cell::new(false);
        let reply = tokio::time::timeout(PATIENCE, self.exchange(call, &sent)).await;
        let late = || {
            format!(
                "{} does not answer within {} s",
                call.url.authority(),
                PATIENCE.as_secs()
            )
        };
        reply
            .map_err(|_| late())
            .and_then(|r| r)
            .map_err(|what| SendError {
                what,
                sent: sent.get(),
            })
    }

    async fn exchange(&self, call: &Call, sent: &Cell<bool>) -> Result<Reply, String> {
        let url = &call.url;
        let (to, request) = (destination(url)?, request(call)?);
        let stream = self
            .dialler
            .provider(&to, url.port)
            .await
            .map_err(|e| e.to_string())?;
        let place = url.authority();
        match url.https {
            false => over(&place, request, stream, sent).await,
            true => {
                over(
                    &place,
                    request,
                    self.outward.connect(&to, stream, false).await?,
                    sent,
                )
                .await
            }
        }
    }
}

fn destination(url: &Url) -> Result<Destination, String> {
    let wrong = || format!("`{}` is no host", url.host);
    match url.host.parse() {
        Ok(ip) => Ok(Destination::Address(ip)),
        Err(_) => HostName::parse(&url.host)
            .map(Destination::Name)
            .ok_or_else(wrong),
    }
}

async fn over(
    place: &str,
    request: Request<Full<Bytes>>,
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    sent: &Cell<bool>,
) -> Result<Reply, String> {
    let broken = |e: hyper::Error| format!("{place}: {e}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driving = tokio::task::spawn_local(connection);
    sent.set(true);
    let answer = sender.send_request(request).await.map_err(broken)?;
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_REPLY).collect().await;
    let body = body.map_err(|e| format!("{place}: {e}"))?.to_bytes();
    driving.abort();
    Ok((status, Zeroizing::new(body.to_vec())))
}

fn request(call: &Call) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder()
        .method(call.method)
        .uri(call.url.path.as_str())
        .header("host", call.url.authority());
    for (name, value) in &call.headers {
        let value = HeaderValue::from_str(value.expose());
        let mut value =
            value.map_err(|_| format!("what belongs into `{name}` holds characters that cannot be sent"))?;
        value.set_sensitive(true);
        request = request.header(*name, value);
    }
    let body = Bytes::copy_from_slice(call.body.expose().as_bytes());
    request.body(Full::new(body)).map_err(|e| e.to_string())
}
