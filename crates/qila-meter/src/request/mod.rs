//! The reader of requests: what a call may cost at most.
mod bodies;
mod facts;
mod rewrite;

pub use rewrite::ask_usage;

use crate::api::{self, Api};
use crate::json::{self, JsonError};
use facts::Facts;

/// Why a request's cost cannot be told from its body. Under a budget such a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The body is not one JSON object in UTF-8.
    #[error("the body cannot be read: {0}")]
    Json(#[from] JsonError),
    /// It is not UTF-8.
    #[error("the body cannot be read: it is not UTF-8")]
    Utf8,
    /// It is JSON, but no object.
    #[error("the body is no JSON object")]
    NoObject,
    /// A key that decides the cost stands twice: two readers may take different ones.
    #[error("`{0}` stands twice in the body")]
    Duplicate(&'static str),
    /// A key that some servers take for one that decides the cost, and others do not.
    #[error("`{written}` may be taken for `{key}`")]
    Spelling {
        /// As written.
        written: String,
        /// What it resembles.
        key: &'static str,
    },
    /// A value of the wrong kind.
    #[error("`{0}` is not of its kind")]
    Kind(&'static str),
    /// No model is named.
    #[error("no model is named")]
    NoModel,
}

/// A call of a model API, as far as its cost goes.
///
/// # What bounds the input
///
/// A token stands for at least one byte of UTF-8, and a JSON text is no shorter than the text it spells, so a body of `n` bytes
/// holds at most `n` tokens of text; what a provider adds by itself (chat templates, instructions on tools) is covered by
/// [`ADDED`]. This takes for granted that a tokenizer does not lengthen its input (one that applies Unicode's NFKC first can, by
/// up to 11 times, for rare characters) and that sealed blobs handed back by the agent (signed thinking, encrypted reasoning)
/// stand for no more tokens than they have bytes.
///
/// The body does not bound what it only refers to or what is not text: images, audio, video, documents, files, earlier responses
/// and conversations, stored prompts, cached contents, and whatever this crate does not know. Such a call counts as a full
/// context window ([`Request::beyond`]). Tools that the provider runs itself make it read again and again: such a call is bounded
/// only where the prices file says so ([`Request::hosted`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The API.
    pub api: Api,
    /// The model asked for.
    pub model: String,
    /// The response is asked for as a stream.
    pub stream: bool,
    /// Length of the body.
    pub body_bytes: u64,
    /// What in the body is not bounded by its length, such as `messages.[].content.[].type: image_url`.
    pub beyond: Option<String>,
    /// The first tool that the provider runs itself.
    pub hosted: Option<String>,
    /// Other models that the provider may choose are named in the body, at this key.
    pub other_models: Option<&'static str>,
    /// Answers asked for.
    pub choices: u64,
    /// Most tokens of each answer, reasoning included; none where the body does not say.
    pub max_output: Option<u64>,
    /// Tokens of output that may come on top: predicted text that is billed although it is thrown away.
    pub extra_output: u64,
    /// What makes it dearer: `service_tier:priority`, `speed:fast`, `inference_geo:us`.
    pub surcharges: Vec<String>,
    /// The cache is asked to keep what is written for longer than usual.
    pub long_cache: bool,
    /// Audio is asked for, or may be in the input.
    pub audio: bool,
    /// Whether the response will tell its usage.
    pub tells_usage: bool,
}

/// Tokens that a provider may add to the input by itself. The largest that Anthropic publishes for its tool instructions is
/// below 1,000, each of its own tools adds below 1,000 more; chat templates cost a few tokens for each message, fewer than the
/// bytes of the JSON around it.
pub const ADDED: u64 = 4096;

impl Request {
    /// Reads a request. `path` is the target as sent, `body` the whole body with any content encoding undone.
    pub fn read(api: Api, path: &str, body: &[u8]) -> Result<Request, Unreadable> {
        if std::str::from_utf8(body).is_err() {
            return Err(Unreadable::Utf8);
        }
        let mut facts = Facts::new(api);
        let read = json::read(body, &mut facts);
        if let Some(error) = facts.error.take() {
            return Err(error);
        }
        read?;
        if !facts.object {
            return Err(Unreadable::NoObject);
        }
        let named = facts.model.text();
        let in_path = api::model_in_path(api, path);
        let model = if api == Api::Gemini {
            in_path
        } else {
            named.or(in_path)
        };
        let stream = api::streams_by_path(path) || facts.stream;
        let body_bytes = body.len() as u64;
        let extra_output = if facts.prediction { body_bytes } else { 0 };
        // Thinking between tool calls may have a budget beyond the limit of one answer.
        let max_output = match (facts.max_output, facts.thinking) {
            (Some(max), Some(thinking)) if thinking >= max => Some(max.saturating_add(thinking)),
            (max, _) => max,
        };
        let max_output = max_output.filter(|max| *max < u64::MAX);
        Ok(Request {
            api,
            model: model.ok_or(Unreadable::NoModel)?,
            stream,
            body_bytes,
            beyond: facts.beyond,
            hosted: facts.hosted,
            other_models: facts.other_models,
            choices: facts.choices.max(1),
            max_output,
            extra_output,
            surcharges: facts.surcharges,
            long_cache: facts.long_cache,
            audio: facts.audio,
            tells_usage: api != Api::OpenaiChat || !stream || facts.include_usage == Some(true),
        })
    }
}
