//! HTTP at the wall: each request is judged by itself, then sent on by a client of the gateway's own.
//!
//! What the upstream reads was written by the gateway from the parsed request, so that the two ends can never disagree on
//! where a request ends.
mod body;
mod credential;
mod exchange;
mod forward;
mod grant;
mod head;
mod judge;
mod line;
mod mcp;
mod metered;
mod multiplexed;
mod patient;
mod refusal;
mod signature;
mod strict;
mod trailers;
mod websocket;
mod whole;

pub(crate) use multiplexed::serve as serve_http2;

use crate::destination::Destination;
use crate::gate::Gate;
use grant::Grant;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
pub(crate) use line::Lines;
use line::Opening;
use qila_types::Access;
use refusal::Refusal;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;
use strict::{Flaw, Strict};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest time for the head of a request, counted from the end of the one before.
const HEAD: Duration = Duration::from_secs(300);
/// Longest time for an agent to take the answer to a malformed request.
const ANSWER: Duration = Duration::from_secs(5);
/// Most bytes that are read for nothing at the end of a connection.
const LINGERED: usize = 4 << 20;
/// Most bytes of a head.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Bytes of one HTTP/2 stream that may be on their way unread.
pub(crate) const STREAM_WINDOW: u32 = 256 * 1024;
/// Most characters of a path that the log keeps.
const SHOWN: usize = 1024;

/// A WebSocket that both ends have agreed on.
struct Carry {
    open: Box<websocket::Open>,
    grant: Rc<Grant>,
    masks: bool,
}

/// One connection of the agent's that carries HTTP.
pub(crate) struct Session {
    /// Where it goes; none if each request says so itself, as to a proxy.
    fixed: Option<(Destination, u16)>,
    tls: bool,
    opening: Opening,
    /// A WebSocket that goes on where a request of HTTP/1.1 has ended.
    carry: RefCell<Option<Carry>>,
    /// Whether there was any request.
    asked: Rc<Cell<bool>>,
}

impl Session {
    /// Of a connection to one place.
    pub(crate) fn fixed(to: Destination, port: u16, tls: bool) -> Session {
        Session {
            fixed: Some((to, port)),
            tls,
            opening: Opening::default(),
            carry: RefCell::default(),
            asked: Rc::default(),
        }
    }

    /// Whether there was any request, to be asked once the connection has ended.
    pub(crate) fn asked(&self) -> Rc<Cell<bool>> {
        self.asked.clone()
    }

    /// Of a connection to the gateway as a proxy.
    pub(crate) fn proxy() -> Session {
        Session {
            fixed: None,
            tls: false,
            opening: Opening::default(),
            carry: RefCell::default(),
            asked: Rc::default(),
        }
    }
}

/// Serves requests until the connection ends.
pub(crate) async fn serve<S>(gate: Rc<Gate>, stream: S, session: Session)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let session = Rc::new(session);
    let shared = (gate.clone(), session.clone());
    let service = service_fn(move |request| {
        let (gate, session) = shared.clone();
        Box::pin(async move { Ok::<_, Infallible>(forward::answer(gate, session, request, None).await) })
    });
    let flaw = Flaw::default();
    let stream = Strict::new(stream, flaw.clone());
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .preserve_header_case(true)
        .half_close(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    // How it ends is the agent's affair; what was decided is in the log.
    let _ = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let parts = connection.into_parts();
    let (mut stream, held) = parts.io.into_inner().into_parts();
    let carry = session.carry.borrow_mut().take();
    if let Some(Carry { open, grant, masks }) = carry {
        let first = [&parts.read_buf[..], &held].concat();
        open.carry(grant, stream, first, masks).await;
    } else if let Some(why) = flaw.get() {
        session.asked.set(true);
        malformed(&gate, &session, stream, why).await;
    } else {
        let _ = tokio::time::timeout(ANSWER, linger(&mut stream)).await;
    }
}

/// Ends a connection so that the agent gets what was last said, though it may still be sending: what is closed with bytes unread
/// is cut off at both ends.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let (mut buffer, mut left) = (vec![0u8; 16 * 1024], LINGERED);
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        match left.checked_sub(n) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Answers a request that the library was never shown.
async fn malformed<S: AsyncRead + AsyncWrite + Unpin>(
    gate: &Gate,
    session: &Session,
    mut stream: S,
    why: &str,
) {
    let (host, port) = match &session.fixed {
        Some((to, port)) => (to.to_string(), *port),
        None => ("the proxy".to_owned(), 0),
    };
    let reason = format!("a malformed request: {why}");
    let decision = crate::gate::denied(Access::Connect { host, port }, reason.clone());
    if gate.recorder.noted(decision).await.is_err() {
        return;
    }
    let refusal = Refusal::malformed(reason).text();
    // An agent that does not read its answer has itself to blame.
    let _ = tokio::time::timeout(ANSWER, async {
        stream.write_all(refusal.as_bytes()).await?;
        linger(&mut stream).await;
        std::io::Result::Ok(())
    })
    .await;
}

/// Runs what the library wants run beside a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
