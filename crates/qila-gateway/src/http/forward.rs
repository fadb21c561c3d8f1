//! One request: where it goes, whether it may, what of it is sent on, and what comes back.
use super::body::{InBody, OutBody};
use super::exchange::{Exchange, Speaks};
use super::grant::Grant;
use super::judge;
use super::mcp::McpFilter;
use super::metered;
use super::multiplexed::Under;
use super::refusal::Refusal;
use super::signature::{self, Signing};
use super::websocket::{self, Answer};
use super::{Carry, SHOWN, Session, credential, head, trailers, whole};
use crate::door::Door;
use crate::gate::Gate;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use qila_authorizer::Verdict;
use qila_meter::Strip;
use qila_types::{Access, Decision};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The answer to a request: the upstream's, or a refusal, which is recorded.
pub(super) async fn answer(
    gate: Rc<Gate>,
    session: Rc<Session>,
    mut request: Request<Incoming>,
    under: Option<Under>,
) -> Response<OutBody> {
    let agent = match request.version() {
        Version::HTTP_2 => Speaks::Http2,
        _ => Speaks::Http1,
    };
    let grpc = agent == Speaks::Http2 && head::is_grpc(request.headers());
    let tunnel = (request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    match forward(&gate, &session, parts, &mut body, tunnel, under).await {
        Ok(response) => response,
        Err((refusal, access)) => {
            // A refusal that cannot be recorded ends like any other: nothing has happened.
            let _ = gate.recorder.noted(refusal.decision(access)).await;
            if let Some(body) = body.filter(|_| agent == Speaks::Http2) {
                tokio::task::spawn_local(whole::discard(body));
            }
            match grpc {
                true => refusal.grpc(),
                false => refusal.response(agent),
            }
        }
    }
}

type Refused = (Refusal, Access);

async fn forward(
    gate: &Rc<Gate>,
    session: &Rc<Session>,
    mut parts: Parts,
    body: &mut Option<Incoming>,
    tunnel: Option<OnUpgrade>,
    under: Option<Under>,
) -> Result<Response<OutBody>, Refused> {
    session.asked.set(true);
    let opened = gate
        .door
        .as_ref()
        .is_none_or(|door| session.fixed.is_some() || opens(door, &parts.headers));
    let path: String = parts.uri.path().chars().take(SHOWN).collect();
    let method: String = parts.method.as_str().chars().take(32).collect();
    let access = |host: &str, port: u16| Access::Http {
        host: host.chars().take(255).collect(),
        port,
        method: method.clone(),
        path: path.clone(),
    };
    let fixed = session.fixed.as_ref().map(|(to, port)| (to, *port));
    let unread = |refusal| {
        let known = fixed.map(|(to, port)| (to.to_string(), port)).unwrap_or_default();
        (refusal, access(&known.0, known.1))
    };
    let socket = websocket::wish(&mut parts).map_err(unread)?;
    let (to, port) = head::target(&parts, fixed).map_err(unread)?;
    let shown = access(&to.to_string(), port);
    let refused = |refusal: Refusal| (refusal, shown.clone());
    if !opened {
        return Err(refused(Refusal::no_key()));
    }
    let rules = gate.rules();
    if rules.rates.requests.as_ref().is_some_and(|b| !b.try_take()) {
        let wait = rules
            .rates
            .requests
            .as_ref()
            .map_or(Duration::ZERO, crate::rate::Bucket::wait_for_one);
        return Err(refused(Refusal::too_many("network.rates.requests", wait)));
    }
    let agent = match parts.version {
        Version::HTTP_2 => Speaks::Http2,
        _ => Speaks::Http1,
    };
    let exchange = Exchange {
        to: to.clone(),
        port,
        tls: session.tls,
        agent,
        trailers: agent == Speaks::Http2 || trailers::asked(&parts.headers),
    };
    let judging = judge::judge(gate, &rules, &exchange, &parts, body, socket.is_some());
    let judge::Judged {
        verdict,
        known,
        body: read,
    } = judging.await.map_err(refused)?;
    if !verdict.allowed {
        return Err(refused(Refusal::by_policy(&verdict, &to, port, &parts)));
    }
    if !rules.rates.of_rule(verdict.rule) {
        return Err(refused(Refusal::too_many(
            "the rule's `rate`",
            Duration::from_secs(1),
        )));
    }
    // Also where no credential applies: a placeholder that goes astray is a violation of its own.
    let live = gate.secrets.live();
    let secret = verdict
        .credential
        .and_then(|c| Some((gate.secrets.get(c)?, live.held(c)?)));
    let signing = signature::take(secret, &mut parts).map_err(|e| refused(Refusal::misplaced(e)))?;
    let placed = credential::place(secret, &mut parts).map_err(|e| refused(Refusal::misplaced(e)))?;
    let used = placed || signing.is_some();
    if signing.is_some() && socket.is_some() {
        return Err(refused(Refusal::violation("a signature on a WebSocket")));
    }
    let whole = read.is_none() && signing.as_ref().is_some_and(Signing::needs_body);
    let read = match body.take_if(|_| whole) {
        Some(body) => {
            let all = whole::read(gate, &rules, body, whole::MAX).await;
            Some(all.map_err(refused)?)
        }
        None => read,
    };
    credential::none_left(gate.secrets.finder(), &parts).map_err(|what| refused(Refusal::violation(what)))?;
    let masks = gate.may_echo(&to);
    let charging = metered::charge(
        gate,
        &rules,
        &exchange,
        &mut parts,
        (read, body),
        socket.is_some(),
    );
    let (body, mut charged) = charging.await.map_err(refused)?;
    let taken = match socket {
        Some(_) => None,
        None => gate.lines.take(&exchange),
    };
    if record(gate, &shown, &verdict, used, taken.is_none())
        .await
        .is_err()
    {
        charged.unsent();
        return Err(refused(Refusal::unrecorded()));
    }
    let strip = charged.strip.take();
    let grant = Grant::new(
        gate.clone(),
        rules,
        exchange.clone(),
        (known, verdict.rule, verdict.credential.filter(|_| used)),
        under,
        charged,
    );
    let grant = Rc::new(grant);
    let plain = masks || grant.is_call() || grant.carries_mcp();

    if let Some(wish) = socket {
        head::prepare(&mut parts, plain, &exchange, Speaks::Http1);
        let begun = websocket::begin(gate, &exchange, wish, parts).await;
        return match begun.map_err(refused)? {
            Answer::Other(response) => back(grant, response, masks, None).map_err(refused),
            Answer::Open(open) => Ok(upgrade(session, grant, open, masks, tunnel)),
        };
    }
    let line = match gate.lines.get(gate, &session.opening, &exchange, taken).await {
        Ok(line) => line,
        Err(e) => {
            grant.unsent();
            return Err(refused(Refusal::upstream(&e)));
        }
    };
    let announced = trailers::announced(&parts.headers);
    head::prepare(&mut parts, plain, &exchange, line.speaks());
    if body.may_have_trailers() {
        trailers::announce(&mut parts.headers, &announced);
        if line.speaks() == Speaks::Http1 {
            // Else the library takes a GET for one without a body.
            parts
                .headers
                .insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    if let Some(signing) = &signing
        && let Err(refusal) = signing.sign(&exchange, &mut parts, &body)
    {
        grant.unsent();
        gate.lines.give_back(line);
        return Err(refused(refusal));
    }
    let astray = Rc::new(Cell::new(false));
    let body = InBody::new(grant.clone(), body, astray.clone(), verdict.body_limit);
    let request = Request::from_parts(parts, body);
    match gate.lines.send(&grant, line, request).await {
        Ok(response) => back(grant, response, masks, strip).map_err(refused),
        Err(_) if astray.get() => Err(refused(Refusal::violation("a placeholder in the request's body"))),
        Err(e) => Err(refused(Refusal::upstream(&e))),
    }
}

/// Goes on in frames, once the agent has the answer.
fn upgrade(
    session: &Session,
    grant: Rc<Grant>,
    open: Box<websocket::Open>,
    masks: bool,
    tunnel: Option<OnUpgrade>,
) -> Response<OutBody> {
    let agent = grant.exchange.agent;
    let mut response = Response::new(OutBody::none());
    (*response.status_mut(), *response.headers_mut()) = open.head(agent);
    match tunnel {
        Some(tunnel) => {
            tokio::task::spawn_local(async move {
                if let Ok(stream) = tunnel.await {
                    open.carry(grant, TokioIo::new(stream), Vec::new(), masks).await;
                }
            });
        }
        None => {
            session.carry.replace(Some(Carry { open, grant, masks }));
        }
    }
    response
}

/// Whether a request to a proxy knows its password.
fn opens(door: &Door, headers: &HeaderMap) -> bool {
    let mut keys = headers.get_all(header::PROXY_AUTHORIZATION).iter();
    keys.next().is_some_and(|k| door.opens(k.as_bytes())) && keys.next().is_none()
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
fn back(
    grant: Rc<Grant>,
    response: Response<Incoming>,
    masks: bool,
    strip: Option<Strip>,
) -> Result<Response<OutBody>, Refusal> {
    grant.answered(response.status().as_u16());
    let (gate, agent) = (grant.gate.clone(), grant.exchange.agent);
    let (mut parts, body) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::upstream(&"it switched to another protocol"));
    }
    // Which of the two is meant nobody can say, and whoever reads it next may take the other (RFC 9112, 6.3).
    if parts.headers.contains_key(header::TRANSFER_ENCODING)
        && parts.headers.contains_key(header::CONTENT_LENGTH)
    {
        return Err(Refusal::upstream(
            &"its answer says both how long it is and that it comes in chunks",
        ));
    }
    let announced = match grant.exchange.trailers {
        true => trailers::announced(&parts.headers),
        false => Vec::new(),
    };
    qila_inspect::request::strip_hop_by_hop(&mut parts.headers);
    // The upstream's own words for the status, and its spelling of header names, are nowhere searched.
    parts.extensions.clear();
    let live = gate.secrets.live();
    let masker = live.masker().filter(|_| masks);
    if let Some(masker) = masker {
        let plain = |v: &HeaderValue| v.as_bytes().eq_ignore_ascii_case(b"identity");
        let mut codings = ["content-encoding", "grpc-encoding"]
            .into_iter()
            .flat_map(|name| parts.headers.get_all(name));
        if codings.any(|v| !plain(v)) {
            return Err(Refusal::upstream(
                &"its answer is compressed although it was asked not to be, so that a credential in it could not be masked",
            ));
        }
        let mut names = parts.headers.keys().chain(&announced);
        if names.any(|name| live.is_in_name(name.as_str())) {
            return Err(Refusal::upstream(
                &"its answer holds a credential in the name of a header",
            ));
        }
        mask(&mut parts.headers, masker);
    }
    parts.version = match agent {
        Speaks::Http1 => Version::HTTP_11,
        Speaks::Http2 => Version::HTTP_2,
    };
    // Of an error nothing is taken out; of a stream nobody knows beforehand how much.
    let strip = strip.filter(|_| parts.status.is_success());
    let mcp = (grant.carries_mcp() && parts.status.is_success()).then(|| McpFilter::new(&parts.headers));
    if mcp.is_some() {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    if strip.is_some() {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    if agent == Speaks::Http2 || !parts.headers.contains_key(header::CONTENT_LENGTH) {
        trailers::announce(&mut parts.headers, &announced);
    }
    let stream = masker.map(qila_inspect::mask::Masker::stream);
    Ok(Response::from_parts(
        parts,
        OutBody::upstream(grant, body, stream, strip, mcp),
    ))
}

pub(super) fn mask(headers: &mut HeaderMap, masker: &qila_inspect::mask::Masker) {
    for value in headers.values_mut() {
        let mut text = value.as_bytes().to_vec();
        if masker.mask(&mut text) > 0 {
            *value = HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("masked"));
        }
    }
}
