//! Budgets that cannot be overrun: the worst case is reserved before a request, what it really used is settled after it.
//!
//! At every moment, for every account: what was spent in its window plus what is reserved is at most the limit, however many
//! processes share it. Only an upstream that reports more than was reserved can exceed it; that is written down as an overrun,
//! and nothing more is given out until it fits again.
//!
//! An account is a fixed-size record in a file which every process that shares it has open, changed under `flock` and written
//! to two places in turn, so that a write that was cut off leaves the one before it. A reservation is in the file before its
//! request leaves: the death of a process loses nothing. What a dead owner had reserved stays reserved until it is *folded*
//! into what was spent, once, by whoever finds it dead. A write survives the process; [`Ledger::open`] can be asked to make
//! each survive the loss of power too.
//!
//! Windows slide. Time is that of the kernel's clock since boot, so that setting the wall clock neither frees nor blocks
//! anything; only over a restart is the wall clock asked, and it never goes back.
#![forbid(unsafe_code)]

mod account;
mod book;
mod clock;
mod ledger;
mod record;

pub use book::BookError;
pub use clock::{Clock, Now, SystemClock};
pub use ledger::{Actual, Budget, Claim, Exceeded, Ledger, Line, Reservation, Unreserved};
pub use record::{MAX_OWNERS, Owner};

use serde::{Deserialize, Serialize};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Tokens of a model, in and out.
    Tokens,
    /// Money, in millionths of a dollar.
    Money,
    /// Requests.
    Requests,
    /// Bytes, both ways.
    Bytes,
}
