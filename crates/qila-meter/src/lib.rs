//! x
#![forbid(unsafe_code)]
#![allow(dead_code)]
mod json;
mod key;
pub mod sse;
pub use json::JsonError;
