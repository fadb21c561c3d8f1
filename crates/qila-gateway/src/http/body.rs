//! Bodies on their way: the agent's is searched for placeholders, the upstream's for real values; both are slowed to rates.
use crate::gate::Gate;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use qila_inspect::mask::Stream as Mask;
use qila_inspect::placeholder::Stream as FinderStream;
use std::cell::Cell;
use std::future::Future;
use std::io::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep};

type Next = Poll<Option<Result<Frame<Bytes>, Error>>>;

/// Waits a debt off.
#[derive(Default)]
struct Pause(Option<Pin<Box<Sleep>>>);

impl Pause {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = &mut self.0 {
            ready!(sleep.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }

    fn owe(&mut self, bucket: Option<&crate::rate::Bucket>, n: usize) {
        if let Some(debt) = bucket.and_then(|b| b.owe(n)) {
            self.0 = Some(Box::pin(sleep(debt)));
        }
    }
}

/// The agent's body on its way out.
pub(crate) struct InBody {
    gate: Rc<Gate>,
    inner: Incoming,
    finder: Option<FinderStream>,
    astray: Rc<Cell<bool>>,
    pause: Pause,
}

impl InBody {
    /// Sets `astray` and fails if a placeholder is in it.
    pub(crate) fn new(gate: Rc<Gate>, inner: Incoming, astray: Rc<Cell<bool>>) -> InBody {
        let finder = gate
            .secrets
            .finder()
            .map(qila_inspect::placeholder::Finder::stream);
        InBody {
            gate,
            inner,
            finder,
            astray,
            pause: Pause::default(),
        }
    }
}

impl Body for InBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        ready!(self.pause.poll(cx));
        let this = &mut *self;
        match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            None => Poll::Ready(None),
            Some(Err(e)) => Poll::Ready(Some(Err(Error::other(e)))),
            Some(Ok(frame)) => {
                // Trailers have no place where anything of them is judged: they end here.
                let Ok(data) = frame.into_data() else {
                    return Poll::Ready(None);
                };
                if this.finder.as_mut().is_some_and(|f| f.push(&data)) {
                    this.astray.set(true);
                    return Poll::Ready(Some(Err(Error::other("a placeholder in the body"))));
                }
                this.pause.owe(this.gate.rates.upload.as_ref(), data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What the agent gets.
pub(crate) enum OutBody {
    /// The gateway's own words.
    Text(Option<Bytes>),
    /// The upstream's.
    Upstream(Box<Upstream>),
}

/// The upstream's body on its way in.
pub(crate) struct Upstream {
    gate: Rc<Gate>,
    inner: Incoming,
    mask: Option<Mask>,
    pause: Pause,
}

impl OutBody {
    /// The gateway's own words.
    pub(crate) fn text(text: String) -> OutBody {
        OutBody::Text(Some(text.into()))
    }

    /// The upstream's body.
    pub(crate) fn upstream(gate: Rc<Gate>, inner: Incoming, mask: Option<Mask>) -> OutBody {
        OutBody::Upstream(Box::new(Upstream {
            gate,
            inner,
            mask,
            pause: Pause::default(),
        }))
    }
}

impl Upstream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Next {
        loop {
            ready!(self.pause.poll(cx));
            let data = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                // A failure while masking closes the stream: what is held back is never given out.
                Some(Err(e)) => return Poll::Ready(Some(Err(Error::other(e)))),
                Some(Ok(frame)) => frame.into_data().ok(),
                None => None,
            };
            let Some(data) = data else {
                let mut out = Vec::new();
                if let Some(mut mask) = self.mask.take() {
                    mask.finish(&mut out);
                }
                return Poll::Ready((!out.is_empty()).then(|| Ok(Frame::data(out.into()))));
            };
            self.pause.owe(self.gate.rates.download.as_ref(), data.len());
            let Some(mask) = &mut self.mask else {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            };
            let mut out = Vec::with_capacity(data.len());
            mask.push(&data, &mut out);
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(out.into()))));
            }
        }
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        match self.get_mut() {
            OutBody::Text(text) => Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            OutBody::Upstream(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            OutBody::Text(text) => text.is_none(),
            OutBody::Upstream(body) => body.mask.is_none() && body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutBody::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64)),
            // Masking keeps lengths, so that the length the upstream gave stays right.
            OutBody::Upstream(body) => body.inner.size_hint(),
        }
    }
}
