//! A small node for tests: its sandboxes are directories of this host, its programs real children without any wall.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
pub mod client;
pub mod files;
pub mod node;
pub mod program;

pub use client::{Answer, Client, Reading, envelope, envelopes, until};
pub use node::{ADMIN_KEY, Fake, KEY, OTHER_KEY};
