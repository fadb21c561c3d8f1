//! What a call of a model API may cost, what it did cost, and what was said in it: pure, bounded, fuzzed.
//!
//! Nothing here opens a file or a socket or looks at a clock. A body is read in pieces and not kept; of any response, of any size
//! and cut anywhere, only a bounded part is held.
//!
//! ```
//! use qila_meter::{Api, Keep, Prices, Reader, Request, api};
//!
//! let path = "/v1/chat/completions";
//! let body = br#"{"model": "gpt-5", "max_completion_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}"#;
//! assert_eq!(api::recognise("api.openai.com", "POST", path, Some("application/json")), Some(Api::OpenaiChat));
//!
//! // Before: the worst case is reserved.
//! let prices = Prices::embedded()?;
//! let request = Request::read(Api::OpenaiChat, path, body)?;
//! let worst = prices.worst(&request)?;
//! let reserved = prices.worst_cost(&request, &worst)?;
//!
//! // After: what the response tells is settled.
//! let mut reader = Reader::new(Api::OpenaiChat, 200, Keep::Hash);
//! reader.push(br#"{"model": "gpt-5", "choices": [], "usage": {"prompt_tokens": 8, "#);
//! reader.push(br#""completion_tokens": 20}}"#);
//! let settled = prices.settle(&request, &worst, &reader.finish());
//! assert!(settled.exact && settled.cost.is_some_and(|cost| cost <= reserved));
//! assert_eq!(settled.usage.tokens(), 28);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | item | what it is |
//! |---|---|
//! | [`api::recognise`] | which API a request speaks |
//! | [`Request`] | what in a request decides its cost, and what it does not bound |
//! | [`Prices`] | prices and limits of models; the worst case, and what a usage costs |
//! | [`ask_usage`], [`Strip`] | making an OpenAI chat stream tell its usage, and hiding that from the agent |
//! | [`Reader`] | a response, whole or streamed: usage, text, calls of tools |
//! | [`Step`], [`otlp`] | a call as it stands in a trace, and as an OpenTelemetry span |
//! | [`sse`] | server-sent events |
//!
//! The names of fields are those of the providers' documents: OpenAI's
//! <https://platform.openai.com/docs/api-reference/chat/object>, `…/chat/streaming`, `…/responses/object`,
//! `…/responses-streaming` and `…/embeddings`; Anthropic's <https://docs.anthropic.com/en/api/messages> and
//! <https://docs.anthropic.com/en/docs/build-with-claude/streaming>; Google's <https://ai.google.dev/api/generate-content>.
#![forbid(unsafe_code)]

pub mod api;
mod content;
mod fuzz;
mod json;
mod key;
pub mod otlp;
pub mod prices;
mod request;
mod response;
pub mod sse;
mod step;
mod strip;
mod surcharge;
mod usage;

pub use api::Api;
pub use content::{Content, Keep, MARGIN, Stored};
#[doc(hidden)]
pub use fuzz::{fuzz_request, fuzz_response};
pub use json::JsonError;
pub use prices::Prices;
pub use request::{ADDED, Request, Unreadable, ask_usage};
pub use response::{Choice, Outcome, Part, Reader, ToolCall};
pub use step::{Circumstances, Step, StepChoice, StepPart};
pub use strip::Strip;
pub use usage::{MicroUsd, Usage};

/// Longest name that is kept of a model, a tool or an id, in bytes.
pub const MAX_NAME: usize = 256;
