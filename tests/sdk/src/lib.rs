//! E2B's unmodified SDKs, and what is built on them, against `qila serve`: the server, the programs that use the SDKs, and what they say.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod ask;
mod part;
mod place;
mod server;

pub use ask::{Answer, ask};
pub use part::{Checked, Outcome, run};
pub use place::{Part, tools};
pub use server::{Key, Server};
