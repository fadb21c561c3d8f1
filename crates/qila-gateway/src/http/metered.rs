//! Requests that cost: calls of models, and everything under a budget.
use super::exchange::Exchange;
use super::refusal::Refusal;
use super::whole;
use crate::call::{Asked, Call};
use crate::gate::{Gate, Rules};
use crate::spend::Spend;
use bytes::Bytes;
use http::header;
use http::request::Parts;
use hyper::body::{Body, Incoming};
use qila_budget::Claim;
use qila_inspect::content_coding::{codings, decode};
use qila_meter::{Api, Strip, api, ask_usage};
use std::rc::Rc;

/// A request's body: on its way, or known already.
pub(super) enum Sent {
    Stream(Incoming),
    Whole(Bytes),
}

impl Sent {
    /// Whether fields may follow it: of a body that was read as a whole they are gone, and one of known length has none.
    pub(super) fn may_have_trailers(&self) -> bool {
        matches!(self, Sent::Stream(body) if body.size_hint().exact().is_none())
    }
}

/// What a request is charged to.
#[derive(Default)]
pub(super) struct Charged {
    /// Its budgets.
    pub spend: Option<Rc<Spend>>,
    /// If it is a call of a model.
    pub call: Option<Rc<Call>>,
    /// Takes out of the answer what the gateway asked for and the agent did not.
    pub strip: Option<Strip>,
}

impl Charged {
    /// Nothing of it has left.
    pub(super) fn unsent(&self) {
        if let Some(call) = &self.call {
            call.unsent();
        }
        if let Some(spend) = &self.spend {
            spend.unsent();
        }
    }
}

/// Reserves what a request may cost. What it is charged to is settled when all that holds it is gone.
pub(super) async fn charge(
    gate: &Rc<Gate>,
    rules: &Rules,
    exchange: &Exchange,
    parts: &mut Parts,
    (read, body): (Option<Bytes>, &mut Option<Incoming>),
    socket: bool,
) -> Result<(Sent, Charged), Refusal> {
    let host = exchange.to.to_string();
    let bounds = gate.spending.as_ref().is_some_and(|s| s.bounds_calls());
    let kind = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let found = api::recognise(&host, parts.method.as_str(), &target, kind);
    if bounds && found.is_none() {
        if socket && api::is_model_host(&host) {
            return Err(Refusal::unbounded(
                "what is said over a WebSocket cannot be counted",
            ));
        }
        if api::unmetered(&host, parts.method.as_str(), &target, kind) {
            return Err(Refusal::unbounded(
                "nothing is known of what this path of the API costs",
            ));
        }
    }
    let mut claim = Claim {
        requests: 1,
        bytes: match &read {
            Some(bytes) => bytes.len() as u64,
            None => body.as_ref().and_then(|b| b.size_hint().exact()).unwrap_or(0),
        },
        ..Claim::default()
    };
    let Some(api) = found.filter(|_| !socket) else {
        let spend = begin(gate, exchange, claim)?;
        let charged = Charged {
            spend,
            ..Charged::default()
        };
        let sent = match read {
            Some(bytes) => Sent::Whole(bytes),
            None => body.take().map_or(Sent::Whole(Bytes::new()), Sent::Stream),
        };
        return Ok((sent, charged));
    };
    let bytes = match (read, body.take()) {
        (Some(bytes), _) => bytes,
        (None, None) => Bytes::new(),
        (None, Some(body)) => whole::read(gate, rules, body, whole::MAX).await?,
    };
    let (asked, bytes, strip) = match ask(gate, api, &target, parts, bytes.clone()) {
        Ok(read) => read,
        Err(why) if bounds => return Err(Refusal::unbounded(&why)),
        // Nothing is bounded, and what cannot be read is the upstream's to refuse.
        Err(_) => {
            let spend = begin(gate, exchange, claim)?;
            return Ok((
                Sent::Whole(bytes),
                Charged {
                    spend,
                    ..Charged::default()
                },
            ));
        }
    };
    if bounds && let Some(why) = &asked.unknown {
        // Money is not needed where only tokens are counted.
        let money = gate.spending.as_ref().is_some_and(|s| s.counts_money());
        if money || asked.worst.is_none() {
            return Err(Refusal::unbounded(why));
        }
    }
    claim.bytes = bytes.len() as u64;
    claim.tokens = asked.worst.map_or(0, |w| w.tokens());
    claim.micros = asked.micros.unwrap_or(0);
    let spend = begin(gate, exchange, claim)?;
    let call = Call::new(gate.clone(), (host, exchange.port), asked, spend.clone());
    let charged = Charged {
        spend,
        call: Some(call),
        strip,
    };
    Ok((Sent::Whole(bytes), charged))
}

fn begin(gate: &Gate, exchange: &Exchange, claim: Claim) -> Result<Option<Rc<Spend>>, Refusal> {
    let Some(spending) = &gate.spending else {
        return Ok(None);
    };
    let spend = spending.begin(&exchange.to, claim);
    spend.map(Some).map_err(|e| Refusal::budget(&e))
}

/// Reads a call, and sees to it that its answer will tell the usage.
fn ask(
    gate: &Gate,
    api: Api,
    target: &str,
    parts: &mut Parts,
    bytes: Bytes,
) -> Result<(Asked, Bytes, Option<Strip>), String> {
    let packed = codings(&parts.headers).map_err(|e| e.to_string())?;
    if !packed.is_empty() {
        let plain = decode(&packed, &bytes, whole::MAX).map_err(|e| e.to_string())?;
        let asked = Asked::read(api, target, &plain, gate.prices())?;
        return Ok((asked, bytes, None));
    }
    let changed = match api {
        Api::OpenaiChat => ask_usage(&bytes).map_err(|e| e.to_string())?,
        _ => None,
    };
    let Some(changed) = changed else {
        let asked = Asked::read(api, target, &bytes, gate.prices())?;
        return Ok((asked, bytes, None));
    };
    let asked = Asked::read(api, target, &changed, gate.prices())?;
    if parts.headers.contains_key(header::CONTENT_LENGTH) {
        parts.headers.insert(header::CONTENT_LENGTH, changed.len().into());
    }
    Ok((asked, changed.into(), Some(Strip::default())))
}
