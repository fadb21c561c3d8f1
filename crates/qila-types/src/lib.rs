//! Ids, units and events shared by every Qila crate; no I/O.
#![forbid(unsafe_code)]

mod event;
mod id;
mod rate;
mod spend;
mod tier;
mod units;

pub use event::{Access, Decision, Event, EventKind, ModelCall, Outcome, StopReason, Usage};
pub use id::{IdError, RunId};
pub use rate::{Flow, Rate};
pub use spend::{Money, Tokens};
pub use tier::Tier;
pub use units::{ByteRate, Bytes, Cpus, Millis, UnitError};
