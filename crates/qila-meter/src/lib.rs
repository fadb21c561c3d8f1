//! What a call of a model API may cost and did cost.
#![forbid(unsafe_code)]

pub mod api;
mod content;
mod json;
mod key;
mod response;
pub mod sse;
mod surcharge;
mod usage;

pub use api::Api;
pub use content::{Content, Keep, MARGIN, Stored};
pub use json::JsonError;
pub use response::{Choice, Outcome, Part, Reader, ToolCall};
pub use usage::{MicroUsd, Usage};

/// Longest name that is kept of a model, a tool or an id, in bytes.
pub const MAX_NAME: usize = 256;
