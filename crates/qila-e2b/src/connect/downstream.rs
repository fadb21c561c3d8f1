//! Calls with one message from the client and a stream of them back.
use super::body::next;
use super::call::Call;
use super::codec::{Codec, Reply, Said};
use super::{Code, Fault, envelope};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{Request, header};
use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the one message of the client may take.
const HEARING: Duration = Duration::from_secs(60);
/// How long the last word waits for a client that reads slowly.
const FAREWELL: Duration = Duration::from_secs(10);

/// Whoever listened is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed;

/// Where the messages of a stream go. One waits at most: whoever reads slowly makes only its own stream wait.
#[derive(Debug)]
pub(crate) struct Out<O> {
    codec: Codec,
    give: mpsc::Sender<Bytes>,
    of: PhantomData<fn(O)>,
}

impl<O: Reply> Out<O> {
    /// Hands over a message.
    pub(crate) async fn send(&self, message: &O) -> Result<(), Closed> {
        // Writing one of our own messages does not fail.
        let bytes = envelope::message(self.codec, message).map_err(|_| Closed)?;
        self.give.send(bytes).await.map_err(|_| Closed)
    }

    /// Waits until nobody listens any more.
    pub(crate) async fn closed(&self) {
        self.give.closed().await;
    }
}

/// Reads the one message and lets `work` answer it, in a task of its own that outlives the client if it wants to.
pub(crate) async fn downstream<I, O, W, F>(request: Request<Body>, work: W) -> Response
where
    I: Said,
    O: Reply,
    W: FnOnce(I, Call, Out<O>) -> F + Send + 'static,
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let call = match Call::read(request.headers(), true) {
        Ok(call) => call,
        Err(response) => return *response,
    };
    let heard = tokio::time::timeout(HEARING, one(request.into_body())).await;
    let heard = heard.unwrap_or_else(|_| Err(Fault::new(Code::DeadlineExceeded, "the request stood still")));
    let message = match heard.and_then(|bytes| call.codec.read(&bytes)) {
        Ok(message) => message,
        Err(fault) => return ended(call.codec, &fault),
    };
    let (give, take) = mpsc::channel(1);
    let out = Out {
        codec: call.codec,
        give: give.clone(),
        of: PhantomData,
    };
    tokio::spawn(async move {
        let done = work(message, call, out).await;
        let last = envelope::end(done.err().as_ref());
        // Whoever does not take it in that time finds the stream broken off, which is true.
        let _ = give.send_timeout(last, FAREWELL).await;
    });
    let pieces = stream::unfold(take, async |mut take| {
        let piece = take.recv().await?;
        Some((Ok::<_, Infallible>(piece), take))
    });
    streamed(call.codec, Body::from_stream(pieces))
}

/// The one message of a request, and that there is no second.
async fn one(mut body: Body) -> Result<Bytes, Fault> {
    let mut buffer = BytesMut::new();
    let mut message = None;
    loop {
        if message.is_none() {
            message = envelope::take(&mut buffer)?;
        }
        if message.is_some() && !buffer.is_empty() {
            return Err(Fault::invalid("one message was expected, and more came"));
        }
        match next(&mut body).await? {
            Some(bytes) => buffer.extend_from_slice(&bytes),
            None if !buffer.is_empty() => return Err(Fault::invalid("a message broke off")),
            None => return message.ok_or_else(|| Fault::invalid("one message was expected, and none came")),
        }
    }
}

/// A stream that ends at once.
pub(crate) fn ended(codec: Codec, fault: &Fault) -> Response {
    streamed(codec, Body::from(envelope::end(Some(fault))))
}

pub(super) fn streamed(codec: Codec, body: Body) -> Response {
    let kind = match codec {
        Codec::Json => "application/connect+json",
        Codec::Proto => "application/connect+proto",
    };
    // What stands between must not hold back what is small.
    (
        [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")],
        body,
    )
        .into_response()
}
