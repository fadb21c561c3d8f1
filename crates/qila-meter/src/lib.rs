//! What a call of a model API may cost and did cost.
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
