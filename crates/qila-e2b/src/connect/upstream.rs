//! Calls with a stream of messages from the client and one back.
use super::body::next;
use super::call::Call;
use super::codec::{Codec, Reply, Said};
use super::downstream::{ended, streamed};
use super::{Code, Fault, envelope};
use axum::body::Body;
use axum::response::Response;
use bytes::BytesMut;
use http::Request;
use std::marker::PhantomData;

/// The messages of a client, one after the other.
#[derive(Debug)]
pub(crate) struct Messages<I> {
    codec: Codec,
    body: Body,
    buffer: BytesMut,
    of: PhantomData<fn() -> I>,
}

impl<I: Said> Messages<I> {
    /// The next one; none: that was all.
    pub(crate) async fn next(&mut self) -> Result<Option<I>, Fault> {
        loop {
            if let Some(bytes) = envelope::take(&mut self.buffer)? {
                return self.codec.read(&bytes).map(Some);
            }
            match next(&mut self.body).await? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(Fault::invalid("a message broke off")),
            }
        }
    }
}

/// Lets `work` read the messages, and answers with what it makes of them.
pub(crate) async fn upstream<I, O, F>(request: Request<Body>, work: F) -> Response
where
    I: Said,
    O: Reply,
    F: AsyncFnOnce(Messages<I>) -> Result<O, Fault>,
{
    let call = match Call::read(request.headers(), true) {
        Ok(call) => call,
        Err(response) => return *response,
    };
    let messages = Messages {
        codec: call.codec,
        body: request.into_body(),
        buffer: BytesMut::new(),
        of: PhantomData,
    };
    let work = work(messages);
    let done = match call.deadline {
        Some(until) => tokio::time::timeout_at(until, work).await.unwrap_or_else(|_| {
            Err(Fault::new(
                Code::DeadlineExceeded,
                "the time for this call is over",
            ))
        }),
        None => work.await,
    };
    match done.and_then(|reply| envelope::message(call.codec, &reply)) {
        Ok(message) => {
            let mut both = BytesMut::from(&message[..]);
            both.extend_from_slice(&envelope::end(None));
            streamed(call.codec, Body::from(both.freeze()))
        }
        Err(fault) => ended(call.codec, &fault),
    }
}
