//! Connections to upstreams, kept for later requests of any connection of the agent's: each request is judged by itself, and
//! nothing of who asked before is left on them.
use super::body::InBody;
use super::exchange::{Exchange, Speaks};
use super::grant::Grant;
use super::patient::Patient;
use super::{Local, MAX_HEAD, STREAM_WINDOW};
use crate::destination::Destination;
use crate::gate::Gate;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Most connections that are kept for later requests; of those beyond it the longest unused one is closed.
const KEPT: usize = 64;
/// Longest time that one is kept unused. Most servers wait that long or longer.
const UNUSED: Duration = Duration::from_secs(50);

/// One connection.
struct Line {
    to: Destination,
    port: u16,
    tls: bool,
    /// What the agent spoke for whom it was made, which says what it offered to speak.
    agent: Speaks,
    sender: Sender,
    used: Instant,
}

enum Sender {
    /// One request at a time.
    One(http1::SendRequest<InBody>),
    /// Many, side by side.
    Many(http2::SendRequest<InBody>),
}

impl Line {
    fn leads(&self, exchange: &Exchange) -> bool {
        let free = match &self.sender {
            // Not while an answer is still under way.
            Sender::One(sender) => sender.is_ready(),
            Sender::Many(sender) => !sender.is_closed(),
        };
        let asked = (&exchange.to, exchange.port, exchange.tls, exchange.agent);
        free && (&self.to, self.port, self.tls, self.agent) == asked
    }

    fn is_of_use(&self) -> bool {
        let closed = match &self.sender {
            Sender::One(sender) => sender.is_closed(),
            Sender::Many(sender) => sender.is_closed(),
        };
        !closed && self.used.elapsed() < UNUSED
    }

    fn speaks(&self) -> Speaks {
        match self.sender {
            Sender::One(_) => Speaks::Http1,
            Sender::Many(_) => Speaks::Http2,
        }
    }
}

/// Those that are kept.
#[derive(Default)]
pub(crate) struct Lines {
    kept: RefCell<Vec<Line>>,
}

/// Whether an upstream speaks HTTP/2 is learnt once, by the first of many requests that come together.
pub(super) type Opening = Mutex<()>;

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
    /// A kept one that leads there, if there is one: then nothing has to be dialled.
    pub(crate) fn take(&self, exchange: &Exchange) -> Option<Taken> {
        let mut kept = self.kept.borrow_mut();
        kept.retain(Line::is_of_use);
        let at = kept.iter().rposition(|l| l.leads(exchange))?;
        let line = match kept.get_mut(at) {
            Some(Line {
                sender: Sender::Many(sender),
                used,
                ..
            }) => {
                *used = Instant::now();
                Line::new(exchange, Sender::Many(sender.clone()))
            }
            _ => kept.remove(at),
        };
        Some(Taken { line, fresh: false })
    }

    /// Keeps one for later.
    fn keep(&self, mut line: Line) {
        line.used = Instant::now();
        let mut kept = self.kept.borrow_mut();
        let same = |l: &Line| (&l.to, l.port, l.tls, l.agent) == (&line.to, line.port, line.tls, line.agent);
        if matches!(line.sender, Sender::Many(_)) && kept.iter().any(|l| same(l) && l.is_of_use()) {
            return;
        }
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(line);
    }

    /// Gives one back that was not used after all.
    pub(crate) fn give_back(&self, taken: Taken) {
        self.keep(taken.line);
    }

    /// Closes all that nobody uses.
    pub(crate) fn close(&self) {
        self.kept.borrow_mut().clear();
    }

    /// A line to the upstream: the one that was taken, or a new one.
    pub(super) async fn get(
        &self,
        gate: &Rc<Gate>,
        opening: &Opening,
        exchange: &Exchange,
        taken: Option<Taken>,
    ) -> Result<Taken, String> {
        if let Some(taken) = taken {
            return Ok(taken);
        }
        let _alone = match exchange.agent {
            Speaks::Http2 => {
                let alone = opening.lock().await;
                if let Some(taken) = self.take(exchange) {
                    return Ok(taken);
                }
                Some(alone)
            }
            Speaks::Http1 => None,
        };
        let line = open(gate, exchange).await?;
        if let Sender::Many(sender) = &line.sender {
            self.keep(Line::new(exchange, Sender::Many(sender.clone())));
        }
        Ok(Taken { line, fresh: true })
    }

    /// Sends a request over a line. One that had been closed meanwhile is replaced by a new one, of the same protocol.
    pub(super) async fn send(
        &self,
        grant: &Grant,
        taken: Taken,
        request: Request<InBody>,
    ) -> Result<Response<Incoming>, String> {
        let (gate, exchange) = (&grant.gate, &grant.exchange);
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
                grant.connects().await?;
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
    fn new(exchange: &Exchange, sender: Sender) -> Line {
        Line {
            to: exchange.to.clone(),
            port: exchange.port,
            tls: exchange.tls,
            agent: exchange.agent,
            sender,
            used: Instant::now(),
        }
    }

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
    let stream = Patient::new(stream);
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
    Ok(Line::new(exchange, sender))
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
