//! Leave to exchange one request and its answer, which a change of the policy may withdraw.
use super::exchange::Exchange;
use super::metered::Charged;
use super::multiplexed::Under;
use crate::gate::{Gate, Rules, denied};
use http::request::Parts;
use qila_authorizer::Access as Ask;
use qila_types::{Access, EventKind};
use std::cell::Cell;
use std::rc::Rc;

/// What one request was allowed under.
pub(crate) struct Grant {
    pub(crate) gate: Rc<Gate>,
    /// The rules in force when it began.
    pub(crate) rules: Rc<Rules>,
    /// Where it goes.
    pub(crate) exchange: Exchange,
    method: String,
    path: String,
    _under: Option<Under>,
    charged: Charged,
    /// The last rules that were asked, and what they said.
    asked: Cell<(u64, bool)>,
}

impl Grant {
    /// For a request that was allowed.
    pub(super) fn new(
        gate: Rc<Gate>,
        rules: Rc<Rules>,
        exchange: Exchange,
        parts: &Parts,
        under: Option<Under>,
        charged: Charged,
    ) -> Grant {
        Grant {
            asked: Cell::new((rules.number, true)),
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            gate,
            rules,
            exchange,
            _under: under,
            charged,
        }
    }

    /// Bytes pass either way. An error: a budget has no room for them.
    pub(crate) fn pays(&self, n: usize) -> std::io::Result<()> {
        match &self.charged.spend {
            Some(spend) => spend.bytes(n).map_err(std::io::Error::other),
            None => Ok(()),
        }
    }

    /// The upstream begins to answer.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(call) = &self.charged.call {
            call.answered(status);
        }
    }

    /// Bytes of the answer, as they came.
    pub(crate) fn heard(&self, bytes: &[u8]) {
        if let Some(call) = &self.charged.call {
            call.push(bytes);
        }
    }

    /// The answer has ended.
    pub(crate) fn ended(&self) {
        if let Some(call) = &self.charged.call {
            call.end();
        }
    }

    /// Nothing of the request has left.
    pub(crate) fn unsent(&self) {
        self.charged.unsent();
    }

    /// Whether it is a call of a model.
    pub(crate) fn is_call(&self) -> bool {
        self.charged.call.is_some()
    }

    /// Whether the rules in force still allow it. What they withdraw is recorded once.
    pub(crate) fn holds(&self) -> bool {
        let (number, held) = self.asked.get();
        let now = self.gate.rules();
        if !held || number == now.number {
            return held;
        }
        let verdict = now.authorizer.decide(&Ask::Http {
            host: self.exchange.to.as_host(),
            port: self.exchange.port,
            method: &self.method,
            path: &self.path,
            facts: &qila_authorizer::HttpFacts::default(),
        });
        self.asked.set((now.number, verdict.allowed));
        if !verdict.allowed {
            let access = Access::Http {
                host: self.exchange.to.to_string(),
                port: self.exchange.port,
                method: self.method.chars().take(32).collect(),
                path: self.path.chars().take(super::SHOWN).collect(),
            };
            let decision = denied(access, format!("the policy was changed: {}", verdict.reason));
            self.gate.recorder.later(EventKind::Decision(decision));
        }
        verdict.allowed
    }
}
