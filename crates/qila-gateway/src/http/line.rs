//! The connections to upstreams behind one connection of the agent's.
use super::body::InBody;
use super::exchange::{Exchange, Speaks};
use super::{Local, MAX_HEAD, STREAM_WINDOW};
use crate::destination::Destination;
use crate::gate::Gate;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

/// Most connections that are kept for later requests.
const KEPT: usize = 8;

/// One connection, kept for the next request to the same place.
struct Line {
    to: Destination,
    port: u16,
    sender: Sender,
}

enum Sender {
    /// One request at a time.
    One(http1::SendRequest<InBody>),
    /// Many, side by side.
    Many(http2::SendRequest<InBody>),
}

impl Line {
    fn leads(&self, to: &Destination, port: u16) -> bool {
        let closed = match &self.sender {
            Sender::One(sender) => sender.is_closed(),
            Sender::Many(sender) => sender.is_closed(),
        };
        self.to == *to && self.port == port && !closed
    }

    fn speaks(&self) -> Speaks {
        match self.sender {
            Sender::One(_) => Speaks::Http1,
            Sender::Many(_) => Speaks::Http2,
        }
    }
}

/// The lines of one connection of the agent's.
#[derive(Default)]
pub(crate) struct Lines {
    kept: RefCell<Vec<Line>>,
    /// Whether an upstream speaks HTTP/2 is learnt once, by the first of many requests that come together.
    opening: Mutex<()>,
}

/// A line that a request may take, and whether it was made for it.
pub(crate) struct Taken {
    line: Line,
    fresh: bool,
}

impl Taken {
    /// What is spoken on it.
    pub(crate) fn speaks(&self) -> Speaks {
        self.line.speaks()
    }
}

impl Lines {
    /// Whether a request there needs no new connection.
    pub(crate) fn lead(&self, to: &Destination, port: u16) -> bool {
        self.kept.borrow().iter().any(|l| l.leads(to, port))
    }

    fn take(&self, to: &Destination, port: u16) -> Option<Taken> {
        let mut kept = self.kept.borrow_mut();
        kept.retain(|l| l.leads(&l.to, l.port));
        let at = kept.iter().position(|l| l.leads(to, port))?;
        let line = match kept.get(at).map(|l| &l.sender) {
            Some(Sender::Many(sender)) => Line {
                to: to.clone(),
                port,
                sender: Sender::Many(sender.clone()),
            },
            _ => kept.swap_remove(at),
        };
        Some(Taken { line, fresh: false })
    }

    fn keep(&self, line: Line) {
        let mut kept = self.kept.borrow_mut();
        let known =
            matches!(line.sender, Sender::Many(_)) && kept.iter().any(|l| l.leads(&line.to, line.port));
        if !known && kept.len() < KEPT {
            kept.push(line);
        }
    }

    /// A line to the upstream: a kept one, or a new one.
    pub(crate) async fn get(&self, gate: &Rc<Gate>, exchange: &Exchange) -> Result<Taken, String> {
        if let Some(taken) = self.take(&exchange.to, exchange.port) {
            return Ok(taken);
        }
        let _alone = match exchange.agent {
            Speaks::Http2 => Some(self.opening.lock().await),
            Speaks::Http1 => None,
        };
        if let Some(taken) = self.take(&exchange.to, exchange.port) {
            return Ok(taken);
        }
        let line = open(gate, exchange).await?;
        if let Sender::Many(sender) = &line.sender {
            self.keep(Line {
                to: line.to.clone(),
                port: line.port,
                sender: Sender::Many(sender.clone()),
            });
        }
        Ok(Taken { line, fresh: true })
    }

    /// Sends a request over a line. One that had been closed meanwhile is replaced by a new one, of the same protocol.
    pub(crate) async fn send(
        &self,
        gate: &Rc<Gate>,
        exchange: &Exchange,
        taken: Taken,
        request: Request<InBody>,
    ) -> Result<Response<Incoming>, String> {
        let to = &exchange.to;
        let Taken { mut line, fresh } = taken;
        let speaks = line.speaks();
        let (response, unsent) = line.offer(request).await;
        match (response, unsent) {
            (Ok(response), _) => {
                self.keep(line);
                Ok(response)
            }
            // The upstream had closed it meanwhile: nothing was sent yet.
            (Err(_), Some(request)) if !fresh => {
                let mut line = open(gate, exchange).await?;
                if line.speaks() != speaks {
                    return Err(format!("{to} speaks another protocol than before; try again"));
                }
                let (response, _) = line.offer(request).await;
                let response = response.map_err(|e| format!("{to} did not answer: {e}"))?;
                self.keep(line);
                Ok(response)
            }
            (Err(e), _) => Err(format!("{to} did not answer: {e}")),
        }
    }
}

impl Line {
    /// The answer, or why there is none and the request if nothing of it was sent.
    async fn offer(
        &mut self,
        request: Request<InBody>,
    ) -> (Result<Response<Incoming>, String>, Option<Request<InBody>>) {
        let sent = match &mut self.sender {
            Sender::One(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(e) => return (Err(why(&e)), Some(request)),
            },
            Sender::Many(sender) => match sender.ready().await {
                Ok(()) => sender.try_send_request(request).await,
                Err(e) => return (Err(why(&e)), Some(request)),
            },
        };
        match sent {
            Ok(response) => (Ok(response), None),
            Err(mut failed) => {
                let unsent = failed.take_message();
                (Err(why(&failed.into_error())), unsent)
            }
        }
    }
}

pub(super) fn why(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error)
        .map(|s| format!(": {s}"))
        .unwrap_or_default();
    format!("{error}{cause}")
}

async fn open(gate: &Rc<Gate>, exchange: &Exchange) -> Result<Line, String> {
    let Exchange { to, port, .. } = exchange;
    let stream = gate.dialler.dial(to, *port).await.map_err(|e| e.to_string())?;
    let wants = exchange.agent == Speaks::Http2;
    let sender = if exchange.tls {
        let stream = gate.outward.connect(to, stream, wants).await?;
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => many(stream).await?,
            _ => one(stream).await?,
        }
    } else if wants {
        // In clear nobody says what the upstream speaks: what the agent knew beforehand, it knows for it too.
        many(stream).await?
    } else {
        one(stream).await?
    };
    Ok(Line {
        to: to.clone(),
        port: *port,
        sender,
    })
}

async fn one<S>(stream: S) -> Result<Sender, String>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Sender::One(sender))
}

async fn many<S>(stream: S) -> Result<Sender, String>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(4))
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_send_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| why(&e))?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Sender::Many(sender))
}
