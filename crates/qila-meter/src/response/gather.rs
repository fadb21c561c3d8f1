//! What a response says, gathered from the events of its JSON.
use super::Outcome;
use super::figures::{FigureReader, within};
use super::parts::{Kind, Parts};
use super::small::Small;
use crate::api::Api;
use crate::content::Keep;
use crate::json::{Event, Sink, count};
use crate::key::K;
use crate::surcharge;
use crate::usage::larger;

/// Output items of OpenAI responses that are no call of a tool, or a tool that the agent runs itself.
const OWN_ITEMS: &[&[u8]] = &[
    b"",
    b"message",
    b"reasoning",
    b"compaction",
    b"function_call",
    b"custom_tool_call",
    b"local_shell_call",
    b"apply_patch_call",
    b"computer_call",
];

/// Gathers. One value is a whole body, or the data of one event.
#[derive(Debug)]
pub(crate) struct Gather {
    api: Api,
    pub(crate) figures: FigureReader,
    pub(crate) parts: Parts,
    pub(crate) id: Small,
    pub(crate) model: Small,
    pub(crate) tier: Small,
    pub(crate) speed: Small,
    pub(crate) geo: Small,
    pub(crate) error: Option<Small>,
    /// `type` of this value.
    kind: Small,
    status: Small,
    /// Elements of a list begun in this value.
    position: u64,
    choices: Option<u64>,
    tools: u64,
    /// The response has said that it is whole.
    pub(crate) last: bool,
    stopped: bool,
    searches: u64,
}

impl Gather {
    pub(crate) fn new(api: Api, keep: Keep) -> Gather {
        Gather {
            api,
            figures: FigureReader::default(),
            parts: Parts::new(keep, matches!(api, Api::OpenaiChat | Api::Gemini)),
            id: Small::default(),
            model: Small::default(),
            tier: Small::default(),
            speed: Small::default(),
            geo: Small::default(),
            error: None,
            kind: Small::default(),
            status: Small::default(),
            position: 0,
            choices: None,
            tools: 0,
            last: false,
            stopped: false,
            searches: 0,
        }
    }

    /// One value of a stream ends.
    pub(crate) fn value_ends(&mut self) {
        self.last |= match self.api {
            Api::OpenaiChat => self.figures.input_now && self.choices == Some(0),
            Api::AnthropicMessages => self.kind.is("message_stop"),
            Api::OpenaiResponses => {
                self.status_is_final()
                    && matches!(
                        self.kind.bytes(),
                        b"response.completed"
                            | b"response.incomplete"
                            | b"response.failed"
                            | b"response.cancelled"
                    )
            }
            Api::Gemini => self.stopped,
            Api::OpenaiEmbeddings => false,
        };
        if self.kind.is("error") {
            self.error.get_or_insert_default();
        }
        self.value_breaks();
    }

    /// One value of a stream ends before it is whole.
    pub(crate) fn value_breaks(&mut self) {
        self.parts.commit();
        self.kind.clear();
        self.position = 0;
        self.choices = None;
        self.figures.input_now = false;
        if self.searches > 0 {
            larger(&mut self.figures.figures.hosted, self.searches);
        }
    }

    /// Whether a body that is one JSON object is whole, now that it has ended.
    pub(crate) fn whole_body(&self) -> bool {
        match self.api {
            Api::OpenaiResponses => self.status_is_final(),
            Api::Gemini => self.stopped,
            _ => true,
        }
    }

    /// Responses in the background are answered before they are done.
    fn status_is_final(&self) -> bool {
        !matches!(self.status.bytes(), b"queued" | b"in_progress")
    }

    /// Whether a stream's `[DONE]` says that it is whole.
    pub(crate) fn done_by_word(&self) -> bool {
        matches!(self.api, Api::OpenaiChat | Api::OpenaiEmbeddings)
    }

    /// What it all comes to.
    pub(crate) fn outcome(self, status: u16, stream: bool, whole: bool) -> Outcome {
        let told = &self.figures.figures;
        let (apart, thoughts) = (self.api == Api::AnthropicMessages, self.api == Api::Gemini);
        let success = (200..300).contains(&status);
        let error = self.error.as_ref().map(|e| e.text().unwrap_or_default());
        let surcharges = [
            ("service_tier", &self.tier),
            ("speed", &self.speed),
            ("inference_geo", &self.geo),
        ]
        .into_iter()
        .filter_map(|(name, value)| surcharge::of(name, &value.text()?))
        .collect();
        let mut outcome = Outcome {
            usage: told.any().then(|| told.usage(apart, thoughts)),
            exact: success && whole && told.told(),
            free: !success && (status < 500 || error.is_some()) && !told.any(),
            cache_split: told.cache_write_5m.is_some() || told.cache_write_1h.is_some(),
            model: self.model.text(),
            id: self.id.text(),
            surcharges,
            error,
            stream,
            left_out: self.parts.left_out,
            choices: self.parts.finish(),
        };
        let hosted = outcome.tool_calls().filter(|c| c.hosted).count() as u64;
        if let Some(usage) = &mut outcome.usage {
            usage.hosted_calls = usage.hosted_calls.max(hosted);
        }
        outcome
    }

    fn common(&mut self, path: &[K], event: Event<'_>) {
        if let Some(rest) = within(path) {
            match event {
                Event::Number(n) => self.figures.number(rest, count(n)),
                Event::Begin { .. } => self.figures.begin(rest),
                Event::End => self.figures.end(rest),
                Event::Text(piece) => self.figures.text(rest, Some(piece)),
                Event::TextEnd => self.figures.text(rest, None),
                _ => {}
            }
        }
        let slot = match path {
            [K::Id | K::ResponseId] | [K::Response | K::Message, K::Id] => &mut self.id,
            [K::Model | K::ModelVersion] | [K::Response | K::Message, K::Model] => &mut self.model,
            [K::ServiceTier]
            | [K::Response, K::ServiceTier]
            | [K::Usage, K::ServiceTier]
            | [K::Message, K::Usage, K::ServiceTier] => &mut self.tier,
            [K::Usage, K::Speed] | [K::Message, K::Usage, K::Speed] => &mut self.speed,
            [K::Usage, K::InferenceGeo] | [K::Message, K::Usage, K::InferenceGeo] => &mut self.geo,
            [K::Type] => &mut self.kind,
            [K::Status] | [K::Response, K::Status] => &mut self.status,
            [K::Error] | [K::Response, K::Error] => {
                if matches!(event, Event::Begin { .. } | Event::TextEnd) {
                    self.error.get_or_insert_default();
                }
                return;
            }
            [K::Error, K::Type | K::Status] | [K::Response, K::Error, K::Code] => {
                self.error.get_or_insert_default()
            }
            _ => return,
        };
        into(slot, event);
    }

    fn chat(&mut self, path: &[K], event: Event<'_>) {
        let [K::Choices, rest @ ..] = path else { return };
        match (rest, event) {
            ([], Event::Begin { .. }) => {
                self.choices.get_or_insert(0);
            }
            ([K::Elem], Event::Begin { .. }) => {
                self.parts.open(self.position, false);
                self.position = self.position.saturating_add(1);
                self.choices = Some(self.position);
            }
            ([K::Elem], Event::End) => self.parts.commit(),
            ([K::Elem, K::Index], Event::Number(n)) => self.parts.element.index = Some(count(n)),
            ([K::Elem, K::FinishReason], event) => into(&mut self.parts.element.finish, event),
            ([K::Elem, K::Message | K::Delta, inner @ ..], event) => self.chat_message(inner, event),
            _ => {}
        }
    }

    fn chat_message(&mut self, path: &[K], event: Event<'_>) {
        match (path, event) {
            ([K::Content | K::Refusal] | [K::Content, K::Elem, K::Text], Event::Text(piece)) => {
                self.parts.add(Kind::Text, piece);
            }
            (
                [K::ReasoningContent | K::Reasoning] | [K::Content, K::Elem, K::Thinking, ..],
                Event::Text(piece),
            ) => {
                self.parts.add(Kind::Reasoning, piece);
            }
            ([K::ToolCalls, K::Elem], Event::Begin { .. }) => self.parts.begin(Kind::Tool),
            ([K::ToolCalls, K::Elem, K::Index], Event::Number(n)) => {
                if let Some(bit) = self.parts.bit(Kind::Tool) {
                    bit.index = Some(count(n));
                }
            }
            ([K::ToolCalls, K::Elem, K::Id], event) => self.tool_word(event, false),
            (
                [K::ToolCalls, K::Elem, K::Function | K::Custom, K::Name] | [K::FunctionCall, K::Name],
                event,
            ) => {
                self.tool_word(event, true);
            }
            (
                [
                    K::ToolCalls,
                    K::Elem,
                    K::Function | K::Custom,
                    K::Arguments | K::Input,
                ]
                | [K::FunctionCall, K::Arguments],
                Event::Text(piece),
            ) => self.parts.add(Kind::Tool, piece),
            _ => {}
        }
    }

    /// The id or the name of the call that is being read.
    fn tool_word(&mut self, event: Event<'_>, name: bool) {
        if !matches!(event, Event::Text(_) | Event::TextEnd) {
            return;
        }
        if let Some(bit) = self.parts.bit(Kind::Tool) {
            into(if name { &mut bit.name } else { &mut bit.id }, event);
        }
    }

    fn responses(&mut self, path: &[K], event: Event<'_>) {
        let rest = match path {
            [K::OutputIndex] => {
                if let Event::Number(n) = event {
                    self.parts.element.index = Some(count(n));
                }
                return;
            }
            [K::Item, rest @ ..] => {
                match (rest, event) {
                    // The index stands beside the item, before it or after, so the element ends with the event.
                    ([], Event::Begin { .. }) => self.parts.element.whole = true,
                    ([], Event::End) => self.item_ends(),
                    _ => {}
                }
                rest
            }
            [K::Output, K::Elem, rest @ ..] | [K::Response, K::Output, K::Elem, rest @ ..] => {
                match (rest, event) {
                    ([], Event::Begin { .. }) => {
                        self.parts.open(self.position, true);
                        self.position = self.position.saturating_add(1);
                    }
                    ([], Event::End) => {
                        self.item_ends();
                        self.parts.commit();
                    }
                    _ => {}
                }
                rest
            }
            _ => return,
        };
        match (rest, event) {
            ([K::Type], event) => into(&mut self.parts.element.kind, event),
            ([K::Name], event) => self.tool_word(event, true),
            ([K::CallId], event) => self.tool_word(event, false),
            ([K::Arguments | K::Input], Event::Text(piece)) => self.parts.add(Kind::Tool, piece),
            ([K::Content, K::Elem, K::Text | K::Refusal], Event::Text(piece)) => {
                self.parts.add(Kind::Text, piece)
            }
            ([K::Summary, K::Elem, K::Text], Event::Text(piece)) => self.parts.add(Kind::Reasoning, piece),
            _ => {}
        }
    }

    /// Says what an item is, now that all of it was read.
    fn item_ends(&mut self) {
        let kind = self.parts.element.kind.clone();
        if kind.is("reasoning") {
            self.parts.as_reasoning();
        } else if !OWN_ITEMS.contains(&kind.bytes())
            && kind.bytes().ends_with(b"_call")
            && let Some(bit) = self.parts.bit(Kind::Tool)
        {
            bit.hosted = true;
            if bit.name.bytes().is_empty() {
                bit.name = kind;
            }
        }
    }

    fn anthropic(&mut self, path: &[K], event: Event<'_>) -> bool {
        let rest = match path {
            [K::Index] => {
                if let Event::Number(n) = event {
                    self.parts.element.index = Some(count(n));
                }
                return false;
            }
            [K::StopReason] | [K::Delta, K::StopReason] => {
                into(&mut self.parts.element.finish, event);
                return false;
            }
            [K::Delta, rest @ ..] => {
                match (rest, event) {
                    ([K::Text], Event::Text(piece)) => self.parts.add(Kind::Text, piece),
                    ([K::Thinking], Event::Text(piece)) => self.parts.add(Kind::Reasoning, piece),
                    ([K::PartialJson], Event::Text(piece)) => self.parts.add(Kind::Tool, piece),
                    _ => {}
                }
                return false;
            }
            [K::ContentBlock, rest @ ..] => rest,
            [K::Content, K::Elem, rest @ ..] => {
                match (rest, event) {
                    ([], Event::Begin { .. }) => {
                        self.parts.open(self.position, true);
                        self.position = self.position.saturating_add(1);
                    }
                    ([], Event::End) => self.parts.commit(),
                    _ => {}
                }
                rest
            }
            _ => return false,
        };
        match (rest, event) {
            ([K::Type], event) => {
                into(&mut self.parts.element.kind, event);
                let hosted = matches!(
                    self.parts.element.kind.bytes(),
                    b"server_tool_use" | b"mcp_tool_use"
                );
                if hosted && let Some(bit) = self.parts.bit(Kind::Tool) {
                    bit.hosted = true;
                }
            }
            ([K::Id], event) => self.tool_word(event, false),
            ([K::Name], event) => self.tool_word(event, true),
            ([K::Text], Event::Text(piece)) => self.parts.add(Kind::Text, piece),
            ([K::Thinking], Event::Text(piece)) => self.parts.add(Kind::Reasoning, piece),
            ([K::Input], Event::Begin { .. }) => return true,
            ([K::Input, ..], Event::Raw(piece)) => self.parts.add(Kind::Tool, piece),
            // A stream opens a block with no arguments and tells them afterwards.
            ([K::Input], Event::End) if path.first() == Some(&K::ContentBlock) => self.parts.forget(b"{}"),
            _ => {}
        }
        false
    }

    fn gemini(&mut self, path: &[K], event: Event<'_>) -> bool {
        if path.starts_with(&[K::PromptFeedback, K::BlockReason]) {
            self.stopped |= event == Event::TextEnd;
        }
        let [K::Candidates, K::Elem, rest @ ..] = path else {
            return false;
        };
        match (rest, event) {
            ([], Event::Begin { .. }) => {
                self.parts.open(self.position, false);
                self.position = self.position.saturating_add(1);
            }
            ([], Event::End) => self.parts.commit(),
            ([K::Index], Event::Number(n)) => self.parts.element.index = Some(count(n)),
            ([K::FinishReason], event) => {
                into(&mut self.parts.element.finish, event);
                self.stopped |= event == Event::TextEnd;
            }
            ([K::GroundingMetadata], Event::Begin { .. }) => self.searches = self.searches.max(1),
            ([K::GroundingMetadata, K::WebSearchQueries], Event::Begin { .. }) => self.searches = 0,
            ([K::GroundingMetadata, K::WebSearchQueries, K::Elem], Event::TextEnd) => {
                self.searches = self.searches.saturating_add(1);
            }
            ([K::Content, K::Parts, K::Elem], Event::Begin { .. }) => self.parts.begin(Kind::Text),
            ([K::Content, K::Parts, K::Elem, K::Text], Event::Text(piece)) => self.parts.add_last(piece),
            ([K::Content, K::Parts, K::Elem, K::Thought], Event::Bool(true)) => {
                self.parts.turn(Kind::Reasoning)
            }
            ([K::Content, K::Parts, K::Elem, K::FunctionCall], Event::Begin { .. }) => {
                self.parts.turn(Kind::Tool);
                let index = self.tools;
                if let Some(bit) = self.parts.last() {
                    bit.index = Some(index);
                    self.tools = self.tools.saturating_add(1);
                }
            }
            ([K::Content, K::Parts, K::Elem, K::FunctionCall, K::Name], event) => self.tool_word(event, true),
            ([K::Content, K::Parts, K::Elem, K::FunctionCall, K::Id], event) => self.tool_word(event, false),
            ([K::Content, K::Parts, K::Elem, K::FunctionCall, K::Args], Event::Begin { .. }) => return true,
            ([K::Content, K::Parts, K::Elem, K::FunctionCall, K::Args, ..], Event::Raw(piece)) => {
                self.parts.add_last(piece);
            }
            _ => {}
        }
        false
    }
}

fn into(slot: &mut Small, event: Event<'_>) {
    match event {
        Event::Text(piece) => slot.add(piece),
        Event::TextEnd => slot.end(),
        _ => {}
    }
}

impl Sink for Gather {
    fn event(&mut self, path: &[K], _at: u64, event: Event<'_>) -> bool {
        // Without `alt=sse` Gemini streams one list of what would be its events.
        let path = match path {
            [K::Elem] if self.api == Api::Gemini && event == Event::End => {
                self.value_ends();
                return false;
            }
            [K::Elem, rest @ ..] if self.api == Api::Gemini => rest,
            path => path,
        };
        self.common(path, event);
        match self.api {
            Api::OpenaiChat => self.chat(path, event),
            Api::OpenaiResponses => self.responses(path, event),
            Api::AnthropicMessages => return self.anthropic(path, event),
            Api::Gemini => return self.gemini(path, event),
            Api::OpenaiEmbeddings => {}
        }
        false
    }
}
