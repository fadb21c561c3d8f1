//! Unmodified third-party agents at work inside the sandbox: the scripted model server, the project they mend, and
//! the hunt for the key that they must never hold.
//!
//! `README.md` in this folder says what is run and what it proves.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "support code of tests only: a broken fixture must stop its test at once"
)]

pub mod agent;
pub mod canary;
pub mod host;
pub mod judge;
pub mod model;
pub mod project;
pub mod qila;
pub mod scenario;
pub mod skip;
