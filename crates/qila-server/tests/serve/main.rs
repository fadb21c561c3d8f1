//! The server over a node in memory: who may what, what is answered, and what happens under pressure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod api;
mod auth;
mod client;
mod document;
mod edge;
mod fake;
mod inside;
mod once;
mod pressure;
mod program;
mod rest;
mod running;
