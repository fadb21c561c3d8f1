//! Bodies on their way: the agent's is searched for placeholders, the upstream's for real values; both are slowed to rates.
use super::grant::Grant;
use super::mcp::McpFilter;
use super::metered::Sent;
use super::trailers;
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use qila_inspect::mask::Stream as Mask;
use qila_inspect::placeholder::Stream as FinderStream;
use qila_meter::Strip;
use std::cell::Cell;
use std::future::Future;
use std::io::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep};

const WITHDRAWN: &str = "the policy was changed or the credential revoked: it is no longer allowed";

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
    grant: Rc<Grant>,
    inner: Sent,
    finder: Option<FinderStream>,
    astray: Rc<Cell<bool>>,
    /// Bytes that the rule still allows.
    left: u64,
    pause: Pause,
}

impl InBody {
    /// Sets `astray` and fails if a placeholder is in it, or in what comes after it.
    pub(super) fn new(grant: Rc<Grant>, inner: Sent, astray: Rc<Cell<bool>>, limit: Option<u64>) -> InBody {
        let finder = grant
            .gate
            .secrets
            .finder()
            .map(qila_inspect::placeholder::Finder::stream);
        InBody {
            grant,
            inner,
            finder,
            astray,
            left: limit.unwrap_or(u64::MAX),
            pause: Pause::default(),
        }
    }
}

impl InBody {
    fn paid(&self, n: usize) -> Result<(), Error> {
        self.grant.pays(n)
    }

    fn lost(&self) -> Result<Frame<Bytes>, Error> {
        self.astray.set(true);
        Err(Error::other("a placeholder in the body"))
    }

    fn after(&self, frame: Frame<Bytes>) -> Option<Result<Frame<Bytes>, Error>> {
        let fields = frame.into_trailers().ok()?;
        Some(match trailers::outward(&self.grant.gate, fields) {
            None => self.lost(),
            Some(fields) => Ok(Frame::trailers(fields)),
        })
    }
}

impl Body for InBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next {
        ready!(self.pause.poll(cx));
        let this = &mut *self;
        let inner = match &mut this.inner {
            Sent::Stream(body) => body,
            // Looked at already.
            Sent::Whole(bytes) => {
                let all = std::mem::take(bytes);
                let frame = (!all.is_empty()).then(|| this.paid(all.len()).map(|()| Frame::data(all)));
                return Poll::Ready(frame);
            }
        };
        match ready!(Pin::new(inner).poll_frame(cx)) {
            None => Poll::Ready(None),
            Some(Err(e)) => Poll::Ready(Some(Err(Error::other(e)))),
            Some(Ok(_)) if !this.grant.holds() => Poll::Ready(Some(Err(Error::other(WITHDRAWN)))),
            Some(Ok(frame)) => {
                let data = match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => return Poll::Ready(this.after(frame)),
                };
                if this.finder.as_mut().is_some_and(|f| f.push(&data)) {
                    return Poll::Ready(Some(this.lost()));
                }
                let Some(left) = this.left.checked_sub(data.len() as u64) else {
                    return Poll::Ready(Some(Err(Error::other("a body over what the rule allows"))));
                };
                this.left = left;
                this.paid(data.len())?;
                this.pause.owe(this.grant.rules.rates.upload.as_ref(), data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Sent::Stream(body) => body.is_end_stream(),
            Sent::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Sent::Stream(body) => body.size_hint(),
            Sent::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
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
    grant: Rc<Grant>,
    inner: Incoming,
    mask: Option<Mask>,
    masks: bool,
    /// Whether what comes after it is passed on too.
    passes_trailers: bool,
    strip: Option<Strip>,
    mcp: Option<McpFilter>,
    after: Option<HeaderMap>,
    pause: Pause,
}

impl OutBody {
    /// The gateway's own words.
    pub(crate) fn text(text: String) -> OutBody {
        OutBody::Text(Some(text.into()))
    }

    /// No body at all.
    pub(crate) fn none() -> OutBody {
        OutBody::Text(None)
    }

    /// The upstream's body.
    pub(super) fn upstream(
        grant: Rc<Grant>,
        inner: Incoming,
        mask: Option<Mask>,
        strip: Option<Strip>,
        mcp: Option<McpFilter>,
    ) -> OutBody {
        OutBody::Upstream(Box::new(Upstream {
            passes_trailers: grant.exchange.trailers,
            grant,
            inner,
            masks: mask.is_some(),
            mask,
            strip,
            mcp,
            after: None,
            pause: Pause::default(),
        }))
    }
}

impl Upstream {
    fn trailers(&self, frame: Frame<Bytes>) -> Result<Option<HeaderMap>, Error> {
        let Some(fields) = frame.into_trailers().ok().filter(|_| self.passes_trailers) else {
            return Ok(None);
        };
        match trailers::inward(&self.grant.gate, self.masks, fields) {
            Some(fields) => Ok(Some(fields)),
            None => Err(Error::other("a credential in the name of a field after the body")),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Next {
        loop {
            ready!(self.pause.poll(cx));
            if let Some(fields) = self.after.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(fields))));
            }
            let data = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                // A failure while masking closes the stream: what is held back is never given out.
                Some(Err(e)) => return Poll::Ready(Some(Err(Error::other(e)))),
                Some(Ok(_)) if !self.grant.holds() => {
                    return Poll::Ready(Some(Err(Error::other(WITHDRAWN))));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(data),
                    Err(frame) => {
                        self.after = self.trailers(frame)?;
                        None
                    }
                },
                None => None,
            };
            if let Some(mask) = &mut self.mask
                && let Some(masker) = self.grant.gate.secrets.live().masker()
            {
                // A value that came into force meanwhile may stand in what comes now.
                mask.turn(masker);
            }
            let Some(data) = data else {
                // Settled and recorded before the agent has the end of it.
                self.grant.ended();
                let mut out = Vec::new();
                if let Some(mcp) = self.mcp.take() {
                    let mut rest = Vec::new();
                    mcp.finish(&self.grant, &mut rest).map_err(Error::other)?;
                    match &mut self.mask {
                        Some(mask) => mask.push(&rest, &mut out),
                        None => out = rest,
                    }
                }
                if let Some(strip) = self.strip.take() {
                    let mut rest = Vec::new();
                    strip.finish(&mut rest);
                    match &mut self.mask {
                        Some(mask) => mask.push(&rest, &mut out),
                        None => out = rest,
                    }
                }
                if let Some(mut mask) = self.mask.take() {
                    mask.finish(&mut out);
                }
                if !out.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::data(out.into()))));
                }
                return Poll::Ready(self.after.take().map(|fields| Ok(Frame::trailers(fields))));
            };
            self.grant.pays(data.len())?;
            self.grant.heard(&data);
            self.pause
                .owe(self.grant.rules.rates.download.as_ref(), data.len());
            let data = match &mut self.mcp {
                None => data,
                Some(mcp) => {
                    let mut out = Vec::new();
                    mcp.push(&self.grant, &data, &mut out).map_err(Error::other)?;
                    if out.is_empty() {
                        continue;
                    }
                    out.into()
                }
            };
            let data = match &mut self.strip {
                None => data,
                Some(strip) => {
                    let mut out = Vec::with_capacity(data.len());
                    strip.push(&data, &mut out);
                    if out.is_empty() {
                        continue;
                    }
                    out.into()
                }
            };
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
            OutBody::Upstream(body) => {
                let changes = body.mask.is_some() || body.strip.is_some() || body.mcp.is_some();
                !changes && body.after.is_none() && body.inner.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutBody::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64)),
            // Masking keeps lengths, so that the length the upstream gave stays right.
            OutBody::Upstream(body) if body.strip.is_some() || body.mcp.is_some() => SizeHint::default(),
            OutBody::Upstream(body) => body.inner.size_hint(),
        }
    }
}
