//! What in a body decides the cost, gathered from the events of its JSON.
use super::Unreadable;
use super::bodies::{self, Top};
use crate::MAX_NAME;
use crate::api::Api;
use crate::json::{Event, Sink, count};
use crate::key::K;
use crate::response::small::Small;
use crate::surcharge;
use crate::usage::larger;
use std::collections::BTreeSet;

/// Facts.
#[derive(Debug)]
pub(crate) struct Facts {
    api: Api,
    pub(crate) error: Option<Unreadable>,
    pub(crate) object: bool,
    pub(crate) model: Small,
    pub(crate) stream: bool,
    pub(crate) include_usage: Option<bool>,
    pub(crate) max_output: Option<u64>,
    pub(crate) thinking: Option<u64>,
    pub(crate) choices: u64,
    pub(crate) prediction: bool,
    pub(crate) beyond: Option<String>,
    pub(crate) hosted: Option<String>,
    pub(crate) other_models: Option<&'static str>,
    pub(crate) surcharges: Vec<String>,
    pub(crate) long_cache: bool,
    pub(crate) audio: bool,
    /// Paths of settings seen so far, to find one that stands twice.
    seen: BTreeSet<[K; 2]>,
    /// The short text that is being read.
    word: Small,
    /// The key inside messages that was read just now, if it is not known to be text.
    odd: Option<Vec<u8>>,
    /// The last key at the top that is not known.
    unknown: Vec<u8>,
    /// The item of a responses body that is being read.
    item: Item,
}

#[derive(Debug, Default)]
struct Item {
    id: bool,
    sealed: bool,
    kind: Small,
}

impl Facts {
    pub(crate) fn new(api: Api) -> Facts {
        Facts {
            api,
            error: None,
            object: false,
            model: Small::default(),
            stream: false,
            include_usage: None,
            max_output: None,
            thinking: None,
            choices: 1,
            prediction: false,
            beyond: None,
            hosted: None,
            other_models: None,
            surcharges: Vec::new(),
            long_cache: false,
            audio: false,
            seen: BTreeSet::new(),
            word: Small::default(),
            odd: None,
            unknown: Vec::new(),
            item: Item::default(),
        }
    }

    fn refuse(&mut self, error: Unreadable) {
        self.error.get_or_insert(error);
    }

    fn beyond(&mut self, path: &[K], what: &[u8]) {
        if self.beyond.is_none() {
            let mut text = spelled(path);
            if !what.is_empty() {
                text.push_str(if text.is_empty() { "" } else { ": " });
                text.push_str(&String::from_utf8_lossy(what));
            }
            self.beyond = Some(text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect());
        }
        // What it is may be audio, which is dearer.
        self.audio = true;
    }

    fn hosted(&mut self, what: &[u8]) {
        if self.hosted.is_none() {
            let text = String::from_utf8_lossy(what);
            self.hosted = Some(text.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect());
        }
    }

    /// A key of a setting: at the top, or in one of the objects there that hold settings.
    fn key(&mut self, path: &[K], written: &[u8]) {
        let place = match path {
            [key] => [K::Other, *key],
            [
                group @ (K::StreamOptions
                | K::Thinking
                | K::GenerationConfig
                | K::PromptCacheOptions
                | K::CacheControl
                | K::ContextManagement),
                key,
            ] => [*group, *key],
            _ => return,
        };
        match path.last() {
            Some(K::Other) => {
                if let Some(key) = K::mistaken(written) {
                    let written = String::from_utf8_lossy(written).into_owned();
                    self.refuse(Unreadable::Spelling {
                        written,
                        key: key.name(),
                    });
                } else if path.len() == 1 {
                    // Its value says whether it means anything.
                    self.unknown = written.to_vec();
                }
            }
            Some(key) => {
                // Only Gemini has its settings in both spellings.
                if self.api != Api::Gemini && written.iter().any(u8::is_ascii_uppercase) {
                    let written = String::from_utf8_lossy(written).into_owned();
                    self.refuse(Unreadable::Spelling {
                        written,
                        key: key.name(),
                    });
                } else if !self.seen.insert(place) {
                    self.refuse(Unreadable::Duplicate(key.name()));
                }
            }
            None => {}
        }
    }

    /// Whether a path is the one setting that limits the output, or its like.
    fn figure(&mut self, path: &[K], event: Event<'_>) {
        let (slot, key) = match (self.api, path) {
            (Api::OpenaiChat, [key @ (K::MaxTokens | K::MaxCompletionTokens)])
            | (Api::OpenaiResponses, [key @ K::MaxOutputTokens])
            | (Api::AnthropicMessages, [key @ K::MaxTokens])
            | (Api::Gemini, [K::GenerationConfig, key @ K::MaxOutputTokens]) => (&mut self.max_output, key),
            (Api::AnthropicMessages, [K::Thinking, key @ K::BudgetTokens]) => (&mut self.thinking, key),
            (Api::OpenaiChat, [key @ (K::N | K::BestOf)])
            | (Api::Gemini, [K::GenerationConfig, key @ K::CandidateCount]) => {
                if let Event::Number(n) = event {
                    self.choices = self.choices.max(count(n));
                } else if !matches!(event, Event::Null | Event::Key(_)) {
                    let key = key.name();
                    self.refuse(Unreadable::Kind(key));
                }
                return;
            }
            _ => return,
        };
        match event {
            // What is below nothing, and nothing itself but at Anthropic, means no limit to some servers.
            Event::Number(n)
                if n.starts_with('-') || (count(n) == 0 && self.api != Api::AnthropicMessages) =>
            {
                larger(slot, u64::MAX);
            }
            Event::Number(n) => larger(slot, count(n)),
            Event::Null | Event::Key(_) => {}
            _ => {
                let key = key.name();
                self.refuse(Unreadable::Kind(key));
            }
        }
    }

    fn flag(&mut self, path: &[K], event: Event<'_>) {
        let (slot, key) = match path {
            [K::Stream] => (&mut self.stream, K::Stream),
            [K::StreamOptions, K::IncludeUsage] => {
                self.include_usage = match event {
                    Event::Key(_) => return,
                    Event::Bool(value) => Some(value),
                    _ => Some(false),
                };
                return;
            }
            _ => return,
        };
        match event {
            Event::Bool(value) => *slot = value,
            Event::Null | Event::Key(_) => {}
            _ => self.refuse(Unreadable::Kind(key.name())),
        }
    }

    /// Settings whose value is a word.
    fn setting(&mut self, path: &[K], event: Event<'_>) {
        match (path, event) {
            ([K::Model], Event::Text(piece)) => self.model.add(piece),
            ([K::Model], Event::TextEnd) => self.model.end(),
            ([K::Model], Event::Begin { .. } | Event::Number(_) | Event::Bool(_)) => {
                self.refuse(Unreadable::Kind("model"));
            }
            ([key @ (K::Models | K::Fallbacks)], Event::Begin { .. }) => self.other_models = Some(key.name()),
            ([K::ContextManagement, _, K::Elem, K::Type], event) => {
                // Clearing makes the input smaller; anything else, such as compaction, is a call within the call.
                if let Some(word) = self.whole_word(event)
                    && !word.starts_with(b"clear_")
                {
                    self.beyond(path, &word);
                }
            }
            ([K::Prediction], Event::Begin { .. }) => self.prediction = true,
            ([K::Audio], Event::Begin { .. }) => self.audio = true,
            (
                [K::ServiceTier | K::Speed | K::InferenceGeo]
                | [K::PromptCacheOptions, K::Ttl]
                | [K::PromptCacheRetention],
                event,
            ) => {
                let Some(word) = self.whole_word(event) else {
                    return;
                };
                let word = String::from_utf8_lossy(&word).into_owned();
                let key = path.first().copied().unwrap_or(K::Other);
                match key {
                    K::PromptCacheOptions => self.long_cache |= word != "30m",
                    // How long at most, at the usual price.
                    K::PromptCacheRetention => {}
                    key => self.surcharges.extend(surcharge::of(key.name(), &word)),
                }
            }
            ([K::Modalities, K::Elem], event) | ([K::GenerationConfig, K::Other, K::Elem], event) => {
                if let Some(word) = self.whole_word(event) {
                    self.audio |= word.eq_ignore_ascii_case(b"audio");
                }
            }
            _ => {}
        }
    }

    fn whole_word(&mut self, event: Event<'_>) -> Option<Vec<u8>> {
        match event {
            Event::Text(piece) => self.word.add(piece),
            Event::TextEnd => {
                self.word.end();
                let word = self.word.bytes().to_vec();
                self.word.clear();
                return Some(word);
            }
            _ => {}
        }
        None
    }

    /// Everything at the top that is not known to be plain.
    fn top(&mut self, path: &[K], event: Event<'_>) {
        let [key] = path else { return };
        if matches!(
            event,
            Event::Key(_) | Event::Null | Event::Bool(false) | Event::Text(_) | Event::End
        ) {
            return;
        }
        match bodies::top(self.api, *key) {
            Top::Hosted => self.hosted(key.name().as_bytes()),
            Top::Beyond => {
                let name = if *key == K::Other {
                    self.unknown.clone()
                } else {
                    key.name().as_bytes().to_vec()
                };
                self.beyond(&[], &name);
            }
            Top::Plain | Top::Parts | Top::Tools => {}
        }
    }

    /// Inside messages and the like: what is no text. `path` is the whole one, `inside` its rest below the first key.
    fn inside(&mut self, path: &[K], inside: &[K], event: Event<'_>) {
        if self.api == Api::OpenaiEmbeddings {
            if let Event::Begin { list: false } = event {
                self.beyond(path, b"");
            }
            return;
        }
        // A key that is not known to be text means nothing where it is null.
        if let (Some(name), [parent @ .., _]) = (self.odd.take(), path)
            && event != Event::Null
        {
            self.beyond(parent, &name);
        }
        match (path, event) {
            ([.., K::CacheControl, _], Event::Key(_)) => {}
            ([.., key], Event::Key(written)) if !bodies::text_key(self.api, *key) => {
                self.odd = Some(written.to_vec());
            }
            ([.., K::Type], event) => {
                if let Some(word) = self.whole_word(event) {
                    if !bodies::text_type(self.api, &word) {
                        self.beyond(path, &word);
                    }
                    if inside.len() == 2 {
                        self.item.kind.add(&word);
                        self.item.kind.end();
                    }
                }
            }
            ([.., K::Ttl], event) => {
                if let Some(word) = self.whole_word(event) {
                    self.long_cache |= word != b"5m";
                }
            }
            _ => {}
        }
        if self.api == Api::OpenaiResponses {
            self.item(path, inside, event);
        }
    }

    /// An item of a responses body may be nothing but a reference to an earlier one.
    fn item(&mut self, path: &[K], inside: &[K], event: Event<'_>) {
        match (inside, event) {
            ([K::Elem], Event::Begin { .. }) => self.item = Item::default(),
            ([K::Elem, K::Id], Event::TextEnd) => self.item.id = true,
            ([K::Elem, K::EncryptedContent], Event::TextEnd) => self.item.sealed = true,
            ([K::Elem], Event::End) => {
                let refers = match self.item.kind.bytes() {
                    b"" => self.item.id,
                    b"reasoning" => self.item.id && !self.item.sealed,
                    _ => false,
                };
                if refers {
                    self.beyond(path, b"id");
                }
            }
            _ => {}
        }
    }

    fn tools(&mut self, path: &[K], event: Event<'_>) {
        match (self.api, path, event) {
            (Api::Gemini, [K::Elem, key], Event::Key(written)) if *key != K::FunctionDeclarations => {
                let name = written.to_vec();
                self.hosted(&name);
            }
            (Api::Gemini, ..) => {}
            (_, [K::Elem, K::Type] | [K::Elem, K::Tools, K::Elem, K::Type], event) => {
                if let Some(word) = self.whole_word(event)
                    && !bodies::own_tool(self.api, &word)
                {
                    self.hosted(&word);
                }
            }
            (_, [K::Elem, K::CacheControl, K::Ttl], event) => {
                if let Some(word) = self.whole_word(event) {
                    self.long_cache |= word != b"5m";
                }
            }
            _ => {}
        }
    }
}

fn spelled(path: &[K]) -> String {
    let names: Vec<&str> = path.iter().map(|k| k.name()).collect();
    names.join(".")
}

impl Sink for Facts {
    fn event(&mut self, path: &[K], _at: u64, event: Event<'_>) -> bool {
        let Some(root) = path.first().copied() else {
            self.object |= event == Event::Begin { list: false };
            return false;
        };
        if let Event::Key(written) = event {
            self.key(path, written);
        }
        self.top(path, event);
        match (bodies::top(self.api, root), path.get(1..).unwrap_or_default()) {
            (Top::Parts, rest @ [_, ..]) => {
                self.inside(path, rest, event);
                return matches!(event, Event::Begin { .. }) && bodies::opaque(self.api, rest);
            }
            (Top::Tools, rest) => self.tools(rest, event),
            (Top::Plain, _) => {
                self.figure(path, event);
                self.flag(path, event);
                self.setting(path, event);
                if path == [K::CacheControl, K::Ttl]
                    && let Some(word) = self.whole_word(event)
                {
                    self.long_cache |= word != b"5m";
                }
            }
            _ => {}
        }
        false
    }
}
