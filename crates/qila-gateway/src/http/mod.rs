//! HTTP/1.1 at the wall: each request is judged by itself, then sent on by a client of the gateway's own.
//!
//! What the upstream reads was written by the gateway from the parsed request, so that the two ends can never disagree on
//! where a request ends.
mod body;
mod credential;
mod head;
mod line;
mod refusal;
mod strict;

use crate::connection::Destination;
use crate::gate::Gate;
use body::{InBody, OutBody};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use line::Line;
use qila_authorizer::{Access as Ask, Verdict};
use qila_types::{Access, Decision};
use refusal::Refusal;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use strict::{Flaw, Strict};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// Longest time for the head of a request, counted from the end of the one before.
const HEAD: Duration = Duration::from_secs(300);
/// Longest time for an agent to take the answer to a malformed request.
const ANSWER: Duration = Duration::from_secs(5);
/// Most bytes of a head.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Most characters of a path that the log keeps.
const SHOWN: usize = 1024;

/// One connection of the agent's that carries HTTP.
pub(crate) struct Session {
    /// Where it goes; none if each request says so itself, as to a proxy.
    fixed: Option<(Destination, u16)>,
    tls: bool,
    line: RefCell<Option<Line>>,
}

impl Session {
    /// Of a connection to one place.
    pub(crate) fn fixed(to: Destination, port: u16, tls: bool) -> Session {
        Session {
            fixed: Some((to, port)),
            tls,
            line: RefCell::default(),
        }
    }

    /// Of a connection to the gateway as a proxy.
    pub(crate) fn proxy() -> Session {
        Session {
            fixed: None,
            tls: false,
            line: RefCell::default(),
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
        async move { Ok::<_, Infallible>(answer(gate, session, request).await) }
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
    let _ = (&mut connection).await;
    if let Some(why) = flaw.get() {
        let stream = connection.into_parts().io.into_inner().into_inner();
        malformed(&gate, &session, stream, why).await;
    }
}

/// Answers a request that the library was never shown.
async fn malformed<S: AsyncWrite + Unpin>(gate: &Gate, session: &Session, mut stream: S, why: &str) {
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
        stream.shutdown().await
    })
    .await;
}

async fn answer(gate: Rc<Gate>, session: Rc<Session>, request: Request<Incoming>) -> Response<OutBody> {
    match forward(&gate, &session, request).await {
        Ok(response) => response,
        Err((refusal, access)) => {
            // A refusal that cannot be recorded ends like any other: nothing has happened.
            let _ = gate.recorder.noted(refusal.decision(access)).await;
            refusal.response()
        }
    }
}

type Refused = (Refusal, Access);

async fn forward(
    gate: &Rc<Gate>,
    session: &Rc<Session>,
    request: Request<Incoming>,
) -> Result<Response<OutBody>, Refused> {
    let (mut parts, body) = request.into_parts();
    let path: String = parts.uri.path().chars().take(SHOWN).collect();
    let method: String = parts.method.as_str().chars().take(32).collect();
    let access = |host: &str, port: u16| Access::Http {
        host: host.chars().take(255).collect(),
        port,
        method: method.clone(),
        path: path.clone(),
    };
    let fixed = session.fixed.as_ref().map(|(to, port)| (to, *port));
    let (to, port) = head::target(&parts, fixed).map_err(|refusal| {
        let known = fixed.map(|(to, port)| (to.to_string(), port)).unwrap_or_default();
        (refusal, access(&known.0, known.1))
    })?;
    let shown = access(&to.to_string(), port);
    let refused = |refusal: Refusal| (refusal, shown.clone());
    if gate.rates.requests.as_ref().is_some_and(|b| !b.try_take()) {
        let wait = gate
            .rates
            .requests
            .as_ref()
            .map_or(Duration::ZERO, crate::rate::Bucket::wait_for_one);
        return Err(refused(Refusal::too_many("network.rates.requests", wait)));
    }
    let verdict = gate.authorizer.decide(&Ask::Http {
        host: to.as_host(),
        port,
        method: parts.method.as_str(),
        path: parts.uri.path(),
    });
    if !verdict.allowed {
        return Err(refused(Refusal::by_policy(&verdict, &to, port, &parts)));
    }
    if !gate.rates.of_rule(verdict.rule) {
        return Err(refused(Refusal::too_many(
            "the rule's `rate`",
            Duration::from_secs(1),
        )));
    }
    // Also where no credential applies: a placeholder that goes astray is a violation of its own.
    let secret = verdict.credential.and_then(|c| gate.secrets.get(c));
    let used = credential::place(secret, &mut parts).map_err(|what| refused(Refusal::violation(what)))?;
    credential::none_left(gate.secrets.finder(), &parts).map_err(|what| refused(Refusal::violation(what)))?;
    let masks = gate.may_echo(&to);
    head::prepare(&mut parts, masks);
    let fresh = session.line.borrow().as_ref().is_none_or(|l| !l.leads(&to, port));
    record(gate, &shown, &verdict, used, fresh)
        .await
        .map_err(|()| refused(Refusal::unrecorded()))?;

    let astray = Rc::new(Cell::new(false));
    let body = InBody::new(gate.clone(), body, astray.clone());
    let request = Request::from_parts(parts, body);
    let mut line = session.line.borrow_mut().take().filter(|l| l.leads(&to, port));
    let sent = line::send(gate, &mut line, &to, port, session.tls, request).await;
    let response = match sent {
        Ok(response) => response,
        Err(_) if astray.get() => {
            return Err(refused(Refusal::violation("a placeholder in the request's body")));
        }
        Err(e) => return Err(refused(Refusal::upstream(&e))),
    };
    *session.line.borrow_mut() = line;
    back(gate, response, masks).map_err(refused)
}

/// Records what was allowed before it takes effect: with a credential, or where it makes a connection, on disk.
async fn record(gate: &Gate, access: &Access, verdict: &Verdict, used: bool, fresh: bool) -> Result<(), ()> {
    let decision = Decision {
        credential: gate.decision(access.clone(), verdict).credential.filter(|_| used),
        ..gate.decision(access.clone(), verdict)
    };
    let recorded = if used || fresh {
        gate.recorder.decided(decision).await
    } else {
        gate.recorder.noted(decision).await
    };
    recorded.map_err(drop)
}

/// What the agent gets of a response: no other protocol, no real value of a credential.
fn back(gate: &Rc<Gate>, response: Response<Incoming>, masks: bool) -> Result<Response<OutBody>, Refusal> {
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::upstream(&"it switched to another protocol"));
    }
    qila_inspect::request::strip_hop_by_hop(&mut parts.headers);
    // The upstream's own words for the status, and its spelling of header names, are nowhere searched.
    parts.extensions.clear();
    let masker = gate.secrets.masker().filter(|_| masks);
    if let Some(masker) = masker {
        let plain = |v: &HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"identity");
        if parts
            .headers
            .get_all(header::CONTENT_ENCODING)
            .iter()
            .any(|v| !plain(v))
        {
            return Err(Refusal::upstream(
                &"its answer is compressed although it was asked not to be, so that a credential in it could not be masked",
            ));
        }
        if parts
            .headers
            .keys()
            .any(|name| gate.secrets.is_in_name(name.as_str()))
        {
            return Err(Refusal::upstream(
                &"its answer holds a credential in the name of a header",
            ));
        }
        mask(&mut parts.headers, masker);
    }
    parts.version = Version::HTTP_11;
    let stream = masker.map(qila_inspect::mask::Masker::stream);
    Ok(Response::from_parts(
        parts,
        OutBody::upstream(gate.clone(), body, stream),
    ))
}

fn mask(headers: &mut HeaderMap, masker: &qila_inspect::mask::Masker) {
    for value in headers.values_mut() {
        let mut text = value.as_bytes().to_vec();
        if masker.mask(&mut text) > 0 {
            *value = HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("masked"));
        }
    }
}
