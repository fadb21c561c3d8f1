//! The connection to an upstream behind one connection of the agent's.
use super::MAX_HEAD;
use super::body::InBody;
use crate::connection::Destination;
use crate::gate::Gate;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite};

/// One connection, kept for the next request to the same place.
pub(crate) struct Line {
    to: Destination,
    port: u16,
    sender: SendRequest<InBody>,
}

impl Line {
    /// Whether it leads there and is open.
    pub(crate) fn leads(&self, to: &Destination, port: u16) -> bool {
        self.to == *to && self.port == port && !self.sender.is_closed()
    }
}

/// Sends a request, over the line if there is one.
pub(crate) async fn send(
    gate: &Rc<Gate>,
    line: &mut Option<Line>,
    to: &Destination,
    port: u16,
    tls: bool,
    mut request: Request<InBody>,
) -> Result<Response<Incoming>, String> {
    if let Some(kept) = line
        && kept.sender.ready().await.is_ok()
    {
        match kept.sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(mut failed) => match failed.take_message() {
                // The upstream had closed it meanwhile: nothing was sent yet.
                Some(unsent) => request = unsent,
                None => return Err(format!("{to} did not answer: {}", failed.into_error())),
            },
        }
    }
    let mut fresh = open(gate, to, port, tls).await?;
    let answered = fresh.sender.send_request(request).await;
    *line = Some(fresh);
    answered.map_err(|e| format!("{to} did not answer: {}", why(&e)))
}

fn why(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error)
        .map(|s| format!(": {s}"))
        .unwrap_or_default();
    format!("{error}{cause}")
}

async fn open(gate: &Rc<Gate>, to: &Destination, port: u16, tls: bool) -> Result<Line, String> {
    let stream = gate.dialler.dial(to, port).await.map_err(|e| e.to_string())?;
    let sender = if tls {
        let stream = gate.outward.connect(to, stream).await?;
        handshake(stream).await?
    } else {
        handshake(stream).await?
    };
    Ok(Line {
        to: to.clone(),
        port,
        sender,
    })
}

async fn handshake<S>(stream: S) -> Result<SendRequest<InBody>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = Builder::new()
        .max_buf_size(MAX_HEAD)
        .preserve_header_case(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
