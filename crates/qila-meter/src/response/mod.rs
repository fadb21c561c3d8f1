//! The reader of responses.
mod figures;
mod gather;
mod parts;
pub(crate) mod small;

pub(crate) use parts::MAX_CHOICES;
pub use parts::{Choice, Part, ToolCall};

use crate::api::Api;
use crate::content::Keep;
use crate::json::Json;
use crate::sse::{Item, Sse};
use crate::usage::Usage;
use gather::Gather;

/// What a response said.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The largest figures that were told, in the common form; none where there were none.
    pub usage: Option<Usage>,
    /// The figures are the final ones: the response has ended as its API ends it. Else the worst case stands.
    pub exact: bool,
    /// The request was refused before it cost anything: a status under 500 that is no success, or an error in the API's own form.
    pub free: bool,
    /// Told apart: what was written to the cache for the usual time and for longer.
    pub cache_split: bool,
    /// The model that answered, as told.
    pub model: Option<String>,
    /// The provider's id of the response.
    pub id: Option<String>,
    /// What makes it dearer, as told: `service_tier:priority`, `speed:fast`, `inference_geo:us`.
    pub surcharges: Vec<String>,
    /// Kind of the error, empty where it has no name.
    pub error: Option<String>,
    /// It came as a stream of events.
    pub stream: bool,
    /// The answers.
    pub choices: Vec<Choice>,
    /// Parts that were too many to keep.
    pub left_out: u64,
}

impl Outcome {
    /// All calls of tools, those of the provider's own tools included.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.choices
            .iter()
            .flat_map(|c| &c.parts)
            .filter_map(|part| match part {
                Part::ToolCall(call) => Some(call),
                Part::Text(_) | Part::Reasoning(_) => None,
            })
    }
}

#[derive(Debug)]
enum Form {
    /// Not known yet: nothing but space was read.
    Unknown,
    Json,
    Events(Sse),
}

/// Reads one response as its bytes come; keeps what [`Keep`] says, and little else.
///
/// What it is, one JSON value or a stream of events, is seen by its first byte, whatever its `Content-Type` says. The bytes are
/// those after any content encoding was undone.
#[derive(Debug)]
pub struct Reader {
    form: Form,
    values: Values,
    status: u16,
}

impl Reader {
    /// A reader for one response, by its status.
    pub fn new(api: Api, status: u16, keep: Keep) -> Reader {
        Reader {
            form: Form::Unknown,
            values: Values {
                json: Json::default(),
                gather: Gather::new(api, keep),
                lead: Lead::Held(0),
                done: false,
                read: 0,
            },
            status,
        }
    }

    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if matches!(self.form, Form::Unknown) {
            let begin = bytes.iter().position(|b| !b.is_ascii_whitespace());
            let Some(rest) = begin.and_then(|at| bytes.get(at..)) else {
                return;
            };
            self.form = match rest.first() {
                Some(b'{' | b'[' | b'"') => Form::Json,
                _ => Form::Events(Sse::default()),
            };
            bytes = rest;
        }
        let Reader { form, values, .. } = self;
        match form {
            Form::Unknown => {}
            Form::Json => values.json.push(bytes, &mut values.gather),
            Form::Events(sse) => sse.push(bytes, &mut |item| values.take(item)),
        }
    }

    /// Whether the model has begun to answer: for the time to the first token.
    pub fn has_begun(&self) -> bool {
        self.values.read > 0 || matches!(self.form, Form::Json)
    }

    /// Ends the response, be it whole or cut off.
    pub fn finish(self) -> Outcome {
        let Reader {
            form,
            mut values,
            status,
        } = self;
        let stream = matches!(form, Form::Events(_));
        let whole = match form {
            Form::Unknown => false,
            Form::Json => {
                let ended = values.json.finish(&mut values.gather).is_ok();
                let whole = ended && values.gather.whole_body();
                values.gather.value_ends();
                whole
            }
            Form::Events(mut sse) => {
                sse.finish(&mut |item| values.take(item));
                values.gather.last || (values.done && values.gather.done_by_word())
            }
        };
        values.gather.outcome(status, stream, whole)
    }
}

/// The beginning of an event's data, which may be `[DONE]` instead of JSON.
#[derive(Debug, Clone, Copy)]
enum Lead {
    Held(usize),
    Fed,
}

const DONE: &[u8] = b"[DONE]";

/// Reads the data of events.
#[derive(Debug)]
struct Values {
    json: Json,
    gather: Gather,
    lead: Lead,
    done: bool,
    /// Values read to their end.
    read: u64,
}

impl Values {
    fn take(&mut self, item: Item<'_>) {
        match item {
            Item::Data(piece) => self.data(piece),
            Item::End => {
                match std::mem::replace(&mut self.lead, Lead::Held(0)) {
                    Lead::Held(n) => self.done |= n == DONE.len(),
                    Lead::Fed => {
                        // A value that breaks off has said what it has said; it only is not the last one.
                        if self.json.finish(&mut self.gather).is_ok() {
                            self.read = self.read.saturating_add(1);
                            self.gather.value_ends();
                        } else {
                            self.gather.value_breaks();
                        }
                    }
                }
                self.json.reset();
            }
        }
    }

    fn data(&mut self, mut piece: &[u8]) {
        while let (Lead::Held(n), Some((byte, rest))) = (self.lead, piece.split_first()) {
            match DONE.get(n) {
                Some(wanted) if wanted == byte => self.lead = Lead::Held(n + 1),
                None if byte.is_ascii_whitespace() => {}
                _ => {
                    self.json
                        .push(DONE.get(..n).unwrap_or_default(), &mut self.gather);
                    self.lead = Lead::Fed;
                    break;
                }
            }
            piece = rest;
        }
        if matches!(self.lead, Lead::Fed) {
            self.json.push(piece, &mut self.gather);
        }
    }
}
