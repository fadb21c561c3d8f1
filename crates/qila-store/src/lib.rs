//! What a node remembers: tenants, keys, sandboxes, snapshots, templates, events; in SQLite.
//!
//! One thread writes: requests that wait together are committed together, and each is answered once its transaction is
//! committed. What was answered survives a `kill -9` of the process; over a loss of power the newest commits may be missing,
//! and what is there is whole. Several processes may have one store open: a key that one of them revokes is unknown to the
//! others at their next question.
#![forbid(unsafe_code)]

mod document;
mod error;
mod event;
mod idempotency;
mod key;
mod owner;
mod schema;
mod store;
mod tenant;
mod worker;

pub use document::{Document, Kind, Put};
pub use error::StoreError;
pub use event::EVENTS_KEPT;
pub use idempotency::{CLAIM_KEPT, Claim};
pub use key::{KeyRow, NewKey};
pub use store::Store;

/// Bytes that one document, event or kept answer may have.
pub const MAX_BODY: usize = 1 << 20;

/// What the store answers.
pub type Result<T> = std::result::Result<T, StoreError>;
