//! Real clients, every protocol and every kind of rule: the matrix, inside the sandbox and judged at the server.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected has failed"
)]

pub mod cost;
pub mod hunt;
pub mod judge;
pub mod pending;
pub mod place;
pub mod row;
pub mod rule;
pub mod secret;
pub mod server;
pub mod session;
pub mod table;
