//! `qila --host` against a real `qila serve`: runs, copies, lives of sandboxes, ports, refusals, and a daemon that goes away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod away;
#[path = "../common/mod.rs"]
mod common;
mod copies;
mod daemon;
mod lives;
mod ports;
mod refusals;
mod runs;
#[path = "../common/serve.rs"]
mod serve;
mod templates;
