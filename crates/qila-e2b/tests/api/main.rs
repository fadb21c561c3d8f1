//! The routers over a small node whose sandboxes are directories and whose programs are children of this host.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
mod control;
mod files;
mod filesystem;
mod interpreter;
mod malformed;
mod matrix;
mod process;
mod proto;
mod support;
mod templates;
mod watch;
