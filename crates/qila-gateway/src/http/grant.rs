//! Leave to exchange one request and its answer, which a change of the policy may withdraw.
use super::exchange::Exchange;
use super::judge::Known;
use super::metered::Charged;
use super::multiplexed::Under;
use crate::gate::{Gate, Rules, denied};
use qila_authorizer::Access as Ask;
use qila_types::{Access, Decision, EventKind};
use std::cell::Cell;
use std::rc::Rc;

/// What one request was allowed under.
pub(crate) struct Grant {
    pub(crate) gate: Rc<Gate>,
    /// The rules in force when it began.
    pub(crate) rules: Rc<Rules>,
    /// Where it goes.
    pub(crate) exchange: Exchange,
    known: Known,
    /// The rule that allowed it.
    rule: Option<usize>,
    /// The credential that was placed into it.
    credential: Option<usize>,
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
        (known, rule, credential): (Known, Option<usize>, Option<usize>),
        under: Option<Under>,
        charged: Charged,
    ) -> Grant {
        Grant {
            asked: Cell::new((rules.number, true)),
            known,
            rule,
            credential,
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

    /// A connection is about to be made that was not thought to be needed; on the disk before it is.
    pub(super) async fn connects(&self) -> Result<(), String> {
        let decision = Decision {
            access: Access::Connect {
                host: self.exchange.to.to_string(),
                port: self.exchange.port,
            },
            allowed: true,
            rule: self.rule.map(|r| format!("network.allow[{r}]")),
            credential: None,
            reason: "in place of a connection that the upstream had closed".into(),
        };
        let recorded = self.gate.recorder.decided(decision).await;
        recorded.map_err(|e| e.to_string())
    }

    /// Nothing of the request has left.
    pub(crate) fn unsent(&self) {
        self.charged.unsent();
    }

    /// Whether the answer carries messages of an MCP server, which are judged too.
    pub(crate) fn carries_mcp(&self) -> bool {
        self.rule.is_some_and(|rule| self.rules.mcp.contains(&rule))
    }

    /// Whether an MCP server may send this to the agent. What it may not is recorded.
    pub(crate) fn may_send(&self, method: &str) -> bool {
        let Some(rule) = self.rule else { return false };
        let (host, port) = (self.exchange.to.as_host(), self.exchange.port);
        let verdict = self.rules.authorizer.decide(&Ask::McpServer {
            host,
            port,
            rule,
            method,
        });
        if !verdict.allowed {
            let access = Access::Http {
                host: self.exchange.to.to_string(),
                port,
                method: "MCP server".into(),
                path: method.chars().take(super::SHOWN).collect(),
            };
            let decision = denied(access, verdict.reason);
            self.gate.recorder.later(EventKind::Decision(decision));
        }
        verdict.allowed
    }

    /// Whether it is a call of a model.
    pub(crate) fn is_call(&self) -> bool {
        self.charged.call.is_some()
    }

    /// Whether the rules in force still allow it, and its credential was not revoked. What withdraws it is recorded once.
    pub(crate) fn holds(&self) -> bool {
        let (number, held) = self.asked.get();
        let now = self.gate.rules();
        let revoked = self.credential.is_some_and(|c| self.gate.secrets.is_over(c));
        if !held || (number == now.number && !revoked) {
            return held;
        }
        let why = match revoked {
            true => Some("its credential was revoked".to_owned()),
            false => {
                let verdict = self.known.ask(&now, &self.exchange);
                (!verdict.allowed).then(|| format!("the policy was changed: {}", verdict.reason))
            }
        };
        self.asked.set((now.number, why.is_none()));
        let Some(why) = why else { return true };
        let access = Access::Http {
            host: self.exchange.to.to_string(),
            port: self.exchange.port,
            method: self.known.method().chars().take(32).collect(),
            path: self.known.path().chars().take(super::SHOWN).collect(),
        };
        let decision = denied(access, why);
        self.gate.recorder.later(EventKind::Decision(decision));
        false
    }
}
