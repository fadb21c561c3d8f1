//! One call of a model: what it may cost is known before it leaves, what it did cost when its answer has ended.
use crate::gate::Gate;
use crate::spend::Spend;
use qila_meter::{Api, Circumstances, Keep, Prices, Reader, Request, Step};
use qila_policy::model::TraceContent;
use qila_types::{EventKind, ModelCall};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of text and reasoning that are kept of one answer.
const KEPT: usize = 8 * 1024;
/// Largest step of a trace, in bytes of JSON.
const MAX_STEP: usize = 24 * 1024;

/// What is known before a call leaves.
pub(crate) struct Asked {
    pub(crate) request: Request,
    /// None: its cost has no bound that anybody knows.
    pub(crate) worst: Option<qila_meter::prices::Worst>,
    pub(crate) micros: Option<u64>,
    /// Why one of the two is not known.
    pub(crate) unknown: Option<String>,
}

impl Asked {
    /// Reads a request's whole body.
    pub(crate) fn read(api: Api, target: &str, body: &[u8], prices: &Prices) -> Result<Asked, String> {
        let request = Request::read(api, target, body).map_err(|e| e.to_string())?;
        let mut asked = Asked {
            worst: None,
            micros: None,
            unknown: None,
            request,
        };
        match prices.worst(&asked.request) {
            Err(e) => asked.unknown = Some(e.to_string()),
            Ok(worst) => {
                asked.worst = Some(worst);
                match prices.worst_cost(&asked.request, &worst) {
                    Ok(cost) => asked.micros = Some(cost.0),
                    Err(e) => asked.unknown = Some(e.to_string()),
                }
            }
        }
        Ok(asked)
    }
}

/// A call under way.
pub(crate) struct Call {
    gate: Rc<Gate>,
    host: String,
    port: u16,
    asked: Asked,
    spend: Option<Rc<Spend>>,
    started: Instant,
    at_ms: u64,
    status: Cell<u16>,
    first: Cell<Option<Duration>>,
    reader: RefCell<Option<Reader>>,
    done: Cell<bool>,
}

impl Call {
    /// About to leave.
    pub(crate) fn new(
        gate: Rc<Gate>,
        (host, port): (String, u16),
        asked: Asked,
        spend: Option<Rc<Spend>>,
    ) -> Rc<Call> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let call = Rc::new(Call {
            gate,
            host,
            port,
            asked,
            spend,
            started: Instant::now(),
            at_ms: u64::try_from(now.as_millis()).unwrap_or(0),
            status: Cell::new(0),
            first: Cell::new(None),
            reader: RefCell::default(),
            done: Cell::new(false),
        });
        call.gate.begun(&call);
        call
    }

    /// The answer begins.
    pub(crate) fn answered(&self, status: u16) {
        let keep = match self.gate.rules().traces {
            TraceContent::None => Keep::Nothing,
            TraceContent::Hash => Keep::Hash,
            TraceContent::Keep => Keep::Text(KEPT),
        };
        self.status.set(status);
        self.reader
            .replace(Some(Reader::new(self.asked.request.api, status, keep)));
    }

    /// Bytes of it, as the upstream sent them.
    pub(crate) fn push(&self, bytes: &[u8]) {
        if let Some(reader) = self.reader.borrow_mut().as_mut() {
            reader.push(bytes);
            if self.first.get().is_none() && reader.has_begun() {
                self.first.set(Some(self.started.elapsed()));
            }
        }
    }

    /// Nothing of it has left.
    pub(crate) fn unsent(&self) {
        self.done.set(true);
        if let Some(spend) = &self.spend {
            spend.unsent();
        }
    }

    /// It has ended, or nobody listens any more. Settled and recorded once.
    pub(crate) fn end(&self) {
        if self.done.replace(true) {
            return;
        }
        let reader = self.reader.borrow_mut().take();
        // No answer is no refusal: what was done with the request nobody knows.
        let reader = reader.unwrap_or_else(|| Reader::new(self.asked.request.api, 599, Keep::Nothing));
        let outcome = reader.finish();
        let prices = self.gate.prices();
        let worst = self.asked.worst.unwrap_or(qila_meter::prices::Worst {
            input: 0,
            output: 0,
            hosted_calls: 0,
        });
        let settled = prices.settle(&self.asked.request, &worst, &outcome);
        if let Some(spend) = &self.spend {
            spend.called(settled.usage.tokens(), settled.cost.map(|c| c.0));
            spend.settle();
        }
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let circumstances = Circumstances {
            at_ms: self.at_ms,
            host: &self.host,
            port: self.port,
            status: self.status.get(),
            latency_ms: ms(self.started.elapsed()),
            first_token_ms: self.first.get().map(ms),
        };
        let live = self.gate.secrets.live();
        let redact = |text: &mut Vec<u8>| {
            if let Some(masker) = live.masker() {
                masker.mask(text);
            }
        };
        let mut step = Step::new(&circumstances, &self.asked.request, &outcome, &settled, &redact);
        let mut value = serde_json::to_value(&step).unwrap_or_default();
        if value.to_string().len() > MAX_STEP {
            step.left_out = step.choices.iter().map(|c| c.parts.len() as u64).sum();
            step.choices.clear();
            value = serde_json::to_value(&step).unwrap_or_default();
        }
        self.gate.recorder.later(EventKind::ModelCall(Box::new(ModelCall {
            host: self.host.clone(),
            model: step.model,
            input: settled.usage.input,
            cached: settled.usage.cached_input,
            output: settled.usage.output,
            micros: settled.cost.map(|c| c.0),
            exact: settled.exact,
            step: value,
        })));
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end();
    }
}
