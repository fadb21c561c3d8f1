//! `qila serve` from outside: a daemon that may be killed at any moment, a client that remembers what it was promised, and looks at the
//! host for what should not be there.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod book;
mod client;
mod daemon;
mod dice;
mod load;
mod look;
mod sse;
mod tell;

pub use book::{Book, Kept, Program};
pub use client::{Answer, Asked, Client};
pub use daemon::{Daemon, everybody};
pub use dice::Dice;
pub use load::Loader;
pub use look::{Flat, Marks, daemon_flat, leftovers};
pub use sse::{Events, Said};
pub use tell::{env, tell};
