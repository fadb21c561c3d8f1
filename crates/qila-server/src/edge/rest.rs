//! What a client still sends of a request that is answered already. A connection with such a rest would have to be closed, and a
//! client that keeps it would lose its next request: a small rest is read first, and before a close the answer says so. Meanwhile
//! the request has no place among the others any more: who has no key could keep those for whoever has one.
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{HeaderValue, header};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// Bytes of a rest that are read.
const MOST: usize = 256 << 10;
/// Bytes of an answer that is taken out of its place.
const WHOLE: u64 = 64 << 10;
/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Option<Body>,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let read = std::task::ready!(Pin::new(body).poll_frame(context));
        if !matches!(read, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(read)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            let _ = back.send(body); // nobody waits for it
        }
    }
}

/// What may be left of a request.
pub(crate) struct Rest(Option<oneshot::Receiver<Body>>);

/// Lends a request's body to whoever answers it.
pub(crate) fn lend(request: Request) -> (Request, Rest) {
    // A client that waits for leave to go on has not sent anything.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return (request, Rest(None));
    }
    let (give, take) = oneshot::channel();
    let lent = request.map(|body| {
        Body::new(Lent {
            body: Some(body),
            back: Some(give),
        })
    });
    (lent, Rest(Some(take)))
}

impl Rest {
    /// Reads it within this time, if whoever answered has not.
    pub(crate) async fn read(self, response: Response, time: Duration) -> Response {
        // A body that is not back was read to its end, or is still being read while the answer is sent.
        let Some(mut body) = self.0.and_then(|mut back| back.try_recv().ok()) else {
            return response;
        };
        let (mut response, free) = free(response);
        let all = async {
            let mut left = MOST;
            while let Some(frame) = body.frame().await {
                // A rest that breaks off was not read to its end.
                let n = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(n)?;
            }
            Some(())
        };
        if !free || !matches!(tokio::time::timeout(time, all).await, Ok(Some(()))) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

/// The same answer without the place that its body keeps, and whether that could be: a long one, and one that is still being made,
/// keep theirs.
fn free(response: Response) -> (Response, bool) {
    if response.body().size_hint().exact().is_none_or(|n| n > WHOLE) {
        return (response, false);
    }
    let (head, mut body) = response.into_parts();
    let (body, free) = match body.frame().now_or_never() {
        Some(Some(Ok(frame))) if body.is_end_stream() => {
            (Body::from(frame.into_data().unwrap_or_default()), true)
        }
        Some(None) => (Body::empty(), true),
        // A part of what a program answers.
        Some(Some(first)) => {
            let all = stream::iter([first]).chain(BodyStream::new(body));
            (Body::new(StreamBody::new(all)), false)
        }
        None => (body, false),
    };
    (Response::from_parts(head, body), free)
}
