//! JSON-RPC 2.0, and of the Model Context Protocol what a rule asks: which tool with which arguments, which resource,
//! which prompt.
//!
//! [`read`] takes a whole body, a message or a batch, and [`Stream`] the messages of an event stream. A message that two
//! parsers could read differently is refused: names that occur twice (also by escapes, also by case among the members that
//! are known by name and the arguments), members of the envelope in another case (`Method`), a `jsonrpc` other than `"2.0"`,
//! a message that is request and answer at once or neither, an id that is no string and no whole number, control characters
//! in names, text that is not UTF-8, nesting deeper than [`MAX_DEPTH`]. Members of the envelope that are not known are
//! refused too: who sends them means something by them.
//!
//! Arguments are told as text of one spelling, however they were written: a string as it is after its escapes, without
//! quotes; anything else as compact JSON, numbers without exponent (`1.0` and `1` are both `1`). Numbers that would be
//! rounded by some parsers are refused there.
mod read;
mod stream;

pub use crate::json::{JsonError, MAX_DEPTH, MAX_MEMBERS};
pub use read::read;
pub use stream::{Stream, StreamError};

/// Most messages of a batch.
pub const MAX_BATCH: usize = 64;

/// Most arguments of a call.
pub const MAX_ARGUMENTS: usize = 256;

/// Longest method, tool name, prompt name and id, in bytes; a URI may have 16 times as many.
pub const MAX_NAME: usize = 512;

/// Why a body is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonRpcError {
    /// Longer than the limit.
    #[error("a JSON-RPC body of more than {0} bytes")]
    Long(usize),
    /// Not JSON that all read alike.
    #[error("a JSON-RPC body that is refused: {0}")]
    Json(#[source] JsonError),
    /// An empty batch, or more than [`MAX_BATCH`] messages.
    #[error("a JSON-RPC batch of no message, or of more than {MAX_BATCH}")]
    Batch,
    /// A member that is not known, or known in another case.
    #[error("a JSON-RPC message with an unknown member")]
    Member,
    /// No `"jsonrpc": "2.0"`.
    #[error("a JSON-RPC message without `\"jsonrpc\": \"2.0\"`")]
    Version,
    /// Neither request, notification, response nor error, or several of them.
    #[error("a JSON-RPC message that is not one of request, notification, response, error")]
    Kind,
    /// An id that is no string and no whole number.
    #[error("a JSON-RPC message with a bad id")]
    Id,
    /// A method that is no plain word.
    #[error("a JSON-RPC message with a bad method")]
    Method,
    /// Parameters that are neither an object nor an array, or that lack what the method needs.
    #[error("a JSON-RPC message with bad parameters")]
    Params,
}

impl From<JsonError> for JsonRpcError {
    fn from(why: JsonError) -> JsonRpcError {
        JsonRpcError::Json(why)
    }
}

/// What a body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Whether it is an array, were it of one message.
    pub batch: bool,
    /// At least one.
    pub messages: Vec<Message>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Its id; none: of a notification, or `null` of an error.
    pub id: Option<Id>,
    /// The method of a request or notification.
    pub method: Option<String>,
    /// What it is about.
    pub subject: Subject,
}

/// The four kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer.
    Request,
    /// Wants none.
    Notification,
    /// An answer with a result.
    Response,
    /// An answer with an error.
    Error,
}

/// An id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Id {
    /// A whole number.
    Number(i64),
    /// A string.
    Text(String),
}

/// What a request of the Model Context Protocol is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Nothing that is told.
    Other,
    /// `tools/call`.
    Tool {
        /// The tool's name.
        name: String,
        /// Each argument's name and text, in the order in which they were written.
        arguments: Vec<(String, String)>,
    },
    /// `resources/read`, `resources/subscribe`, `resources/unsubscribe`.
    Resource {
        /// The resource's URI, as it was written.
        uri: String,
    },
    /// `prompts/get`.
    Prompt {
        /// The prompt's name.
        name: String,
        /// As of a tool.
        arguments: Vec<(String, String)>,
    },
}

/// The fuzzer's way in: a body that passes is JSON of which a plain parser says the same, and a stream of it gives the same.
#[doc(hidden)]
pub fn fuzz_jsonrpc(data: &[u8]) {
    read::fuzz(data);
    stream::fuzz(data);
}
