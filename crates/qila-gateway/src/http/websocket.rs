//! WebSocket: judged as the request that it begins with, then frame by frame. Towards the upstream it always begins over
//! HTTP/1.1, on a connection of its own.
use super::exchange::{Exchange, Speaks};
use super::grant::Grant;
use super::refusal::Refusal;
use super::{MAX_HEAD, line};
use crate::gate::{Gate, denied};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use qila_inspect::filter::{Filter, Mask, Pass, Refuse, Stopped};
use qila_inspect::websocket::{self, FrameError, Offer, Relay, Side};
use qila_types::Access;
use rustix::rand::{GetRandomFlags, getrandom};
use std::convert::Infallible;
use std::io::Result as IoResult;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longest time that one end may go on once the other is closed.
const CLOSING: Duration = Duration::from_secs(30);
/// Bytes read at once.
const PIECE: usize = 16 * 1024;

/// A handshake that an agent has begun.
pub(super) struct Wish {
    /// Over HTTP/1.1: the agent's key, which the answer has to prove.
    key: Option<HeaderValue>,
}

/// Whether a request begins a WebSocket. If so, its head is left as that of the plain request by which it is judged.
pub(super) fn wish(parts: &mut Parts) -> Result<Option<Wish>, Refusal> {
    let bad = |e: websocket::HandshakeError| Refusal::malformed(format!("a WebSocket handshake: {e}"));
    if parts.version == Version::HTTP_2 {
        if parts.method != Method::CONNECT || parts.extensions.get::<Protocol>().is_none() {
            return Ok(None);
        }
        let asked = parts.extensions.remove::<Protocol>();
        if asked.is_none_or(|p| p.as_str() != "websocket") {
            return Err(Refusal::malformed(
                "an extended CONNECT for another protocol than WebSocket",
            ));
        }
        websocket::connect(&parts.method, parts.version, &mut parts.headers).map_err(bad)?;
        parts.method = Method::GET;
        return Ok(Some(Wish { key: None }));
    }
    let asks = parts
        .headers
        .get(header::UPGRADE)
        .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !asks {
        return Ok(None);
    }
    websocket::request(&parts.method, parts.version, &mut parts.headers).map_err(bad)?;
    let key = parts.headers.remove(header::SEC_WEBSOCKET_KEY);
    parts.headers.remove(header::UPGRADE);
    parts.headers.remove(header::CONNECTION);
    Ok(Some(Wish { key }))
}

/// An upstream that has agreed.
pub(super) struct Open {
    upstream: Upgraded,
    protocol: Option<HeaderValue>,
    key: Option<HeaderValue>,
}

/// What the upstream made of it.
pub(super) enum Answer {
    /// It speaks WebSocket from here on.
    Open(Box<Open>),
    /// It answered otherwise.
    Other(Response<Incoming>),
}

/// Begins a WebSocket with the upstream.
pub(super) async fn begin(
    gate: &Rc<Gate>,
    exchange: &Exchange,
    wish: Wish,
    mut parts: Parts,
) -> Result<Answer, Refusal> {
    let upstream = |e: String| Refusal::upstream(&e);
    let offer = offer(&mut parts).map_err(Refusal::malformed)?;
    let stream = gate.dialler.dial(&exchange.to, exchange.port).await;
    let stream = stream.map_err(|e| upstream(e.to_string()))?;
    let mut sender = match exchange.tls {
        true => {
            handshake(
                gate.outward
                    .connect(&exchange.to, stream, false)
                    .await
                    .map_err(upstream)?,
            )
            .await
        }
        false => handshake(stream).await,
    }
    .map_err(upstream)?;
    let mut response = sender
        .send_request(Request::from_parts(parts, Empty))
        .await
        .map_err(|e| upstream(format!("{} did not answer: {}", exchange.to, line::why(&e))))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answer::Other(response));
    }
    let status = response.status();
    let protocol = websocket::response(&offer, status, response.headers_mut())
        .map_err(|e| upstream(format!("its answer to a WebSocket handshake: {e}")))?;
    let upgraded = hyper::upgrade::on(response)
        .await
        .map_err(|e| upstream(e.to_string()))?;
    Ok(Answer::Open(Box::new(Open {
        upstream: upgraded,
        protocol: protocol.and_then(|p| HeaderValue::from_str(&p).ok()),
        key: wish.key,
    })))
}

/// Makes the head that of a handshake of the gateway's own.
fn offer(parts: &mut Parts) -> Result<Offer, String> {
    let mut random = [0u8; 16];
    getrandom(&mut random, GetRandomFlags::empty()).map_err(|e| format!("no random numbers: {e}"))?;
    let key = HeaderValue::from_str(&BASE64_STANDARD.encode(random)).map_err(|e| e.to_string())?;
    let fields = &mut parts.headers;
    // No body follows, and what it asks for Connection would have to name.
    fields.remove(header::TE);
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_KEY, key);
    fields.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    websocket::request(&parts.method, parts.version, fields).map_err(|e| e.to_string())
}

async fn handshake<S>(stream: S) -> Result<http1::SendRequest<Empty>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    tokio::task::spawn_local(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// No body.
struct Empty;

impl Body for Empty {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
    fn is_end_stream(&self) -> bool {
        true
    }
}

impl Open {
    /// The head of the answer to the agent.
    pub(super) fn head(&self, agent: Speaks) -> (StatusCode, HeaderMap) {
        let mut fields = HeaderMap::new();
        if let Some(protocol) = &self.protocol {
            fields.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        if agent == Speaks::Http2 {
            return (StatusCode::OK, fields);
        }
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let key = self
            .key
            .as_ref()
            .and_then(|k| k.to_str().ok())
            .unwrap_or_default();
        if let Ok(proof) = HeaderValue::from_str(&websocket::accept(key)) {
            fields.insert(header::SEC_WEBSOCKET_ACCEPT, proof);
        }
        (StatusCode::SWITCHING_PROTOCOLS, fields)
    }

    /// Carries frames both ways until one end closes. `first` was read of the agent already.
    pub(super) async fn carry<S>(self, grant: Rc<Grant>, agent: S, first: Vec<u8>, masks: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let gate = grant.gate.clone();
        let (mut from_agent, mut to_agent) = tokio::io::split(agent);
        let (mut from_upstream, mut to_upstream) = tokio::io::split(TokioIo::new(self.upstream));
        let out = Way::out(&gate);
        let back = Way::back(&gate, masks);
        let upload = Direction::new(Side::Client, out, first);
        let download = Direction::new(Side::Server, back, Vec::new());
        let ended = {
            let upload = upload.run(&grant, &mut from_agent, &mut to_upstream);
            let download = download.run(&grant, &mut from_upstream, &mut to_agent);
            tokio::pin!(upload, download);
            tokio::select! {
                ended = &mut upload => match ended {
                    Ended::Closed => { let _ = timeout(CLOSING, download).await; Ended::Closed }
                    other => other,
                },
                ended = &mut download => match ended {
                    Ended::Closed => { let _ = timeout(CLOSING, upload).await; Ended::Closed }
                    other => other,
                },
            }
        };
        if let Ended::Broken {
            code,
            reason,
            violation,
        } = ended
        {
            if violation {
                let exchange = &grant.exchange;
                let access = Access::Connect {
                    host: exchange.to.to_string(),
                    port: exchange.port,
                };
                let _ = gate
                    .recorder
                    .noted(denied(access, format!("violation: {reason}")))
                    .await;
            }
            let _ = to_agent.write_all(&websocket::close(code, &reason, None)).await;
            let _ = to_upstream
                .write_all(&websocket::close(code, "", Some(key())))
                .await;
        }
        let _ = to_agent.shutdown().await;
        let _ = to_upstream.shutdown().await;
    }
}

/// A mask that nobody outside can know beforehand.
fn key() -> [u8; 4] {
    let mut key = [0u8; 4];
    // Without random numbers TLS could not have been spoken either; the mask protects old proxies, not the payload.
    let _ = getrandom(&mut key, GetRandomFlags::empty());
    key
}

/// What is looked for on the way.
enum Way {
    Pass,
    Mask(Box<Mask>),
    Refuse(Box<Refuse>),
}

impl Way {
    fn out(gate: &Gate) -> Way {
        gate.secrets
            .finder()
            .map_or(Way::Pass, |f| Way::Refuse(Box::new(Refuse::new(f))))
    }

    fn back(gate: &Gate, masks: bool) -> Way {
        let live = gate.secrets.live();
        let masker = live.masker().filter(|_| masks);
        masker.map_or(Way::Pass, |m| Way::Mask(Box::new(Mask::new(m))))
    }

    /// A value that came into force meanwhile may stand in what comes now.
    fn turn(&mut self, gate: &Gate) {
        if let Way::Mask(filter) = self
            && let Some(masker) = gate.secrets.live().masker()
        {
            filter.turn(masker);
        }
    }
}

impl Filter for Way {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Stopped> {
        match self {
            Way::Pass => Pass.push(piece, out),
            Way::Mask(filter) => filter.push(piece, out),
            Way::Refuse(filter) => filter.push(piece, out),
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Stopped> {
        match self {
            Way::Pass => Pass.finish(out),
            Way::Mask(filter) => filter.finish(out),
            Way::Refuse(filter) => filter.finish(out),
        }
    }

    fn short(&mut self, payload: &mut [u8]) -> Result<(), Stopped> {
        match self {
            Way::Pass => Pass.short(payload),
            Way::Mask(filter) => filter.short(payload),
            Way::Refuse(filter) => filter.short(payload),
        }
    }
}

/// How a direction ended.
enum Ended {
    /// By a close frame, or by its end being gone.
    Closed,
    /// By what was in it.
    Broken {
        code: u16,
        reason: String,
        violation: bool,
    },
}

struct Direction {
    relay: Relay,
    way: Way,
    first: Vec<u8>,
    side: Side,
}

impl Direction {
    fn new(side: Side, way: Way, first: Vec<u8>) -> Direction {
        Direction {
            relay: Relay::new(side),
            way,
            first,
            side,
        }
    }

    async fn run(
        mut self,
        grant: &Grant,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Ended {
        let mut buffer = vec![0u8; PIECE];
        let mut out = Vec::new();
        let mut first = std::mem::take(&mut self.first);
        loop {
            let piece = match first.is_empty() {
                false => std::mem::take(&mut first),
                true => match from.read(&mut buffer).await {
                    Ok(0) | Err(_) => return Ended::Closed,
                    Ok(n) => buffer.get(..n).unwrap_or(&[]).to_vec(),
                },
            };
            if !grant.holds() {
                return broken(
                    1008,
                    "no longer allowed: the policy was changed or the credential revoked",
                    false,
                );
            }
            if let Err(why) = grant.pays(piece.len()) {
                return broken(1008, &why.to_string(), false);
            }
            let rates = &grant.rules.rates;
            let rate = match self.side {
                Side::Client => rates.upload.as_ref(),
                Side::Server => rates.download.as_ref(),
            };
            crate::rate::take(rate, piece.len()).await;
            self.way.turn(&grant.gate);
            let read = self.relay.push(&piece, &mut self.way, key, &mut out);
            // What stands before a fault was judged and may go on.
            if write(to, &mut out).await.is_err() {
                return Ended::Closed;
            }
            match read {
                Ok(()) if self.relay.closed() => return Ended::Closed,
                Ok(()) => {}
                Err(e) => {
                    let violation = matches!(e, FrameError::Stopped);
                    let what = match violation {
                        true => "a placeholder in a WebSocket message".to_owned(),
                        false => e.to_string(),
                    };
                    return broken(e.close_code(), &what, violation);
                }
            }
        }
    }
}

fn broken(code: u16, reason: &str, violation: bool) -> Ended {
    Ended::Broken {
        code,
        reason: reason.to_owned(),
        violation,
    }
}

async fn write(to: &mut (impl AsyncWrite + Unpin), out: &mut Vec<u8>) -> IoResult<()> {
    if !out.is_empty() {
        to.write_all(out).await?;
        to.flush().await?;
        out.clear();
    }
    Ok(())
}
