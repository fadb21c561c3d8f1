//! Leases: credentials that a provider mints for one run, and takes back when it ends.
//!
//! Nothing here opens a socket or a file, or asks a clock. An [`Origin`] says what to send ([`Call`]) and reads what came back
//! ([`Minted`]); a [`Revocation`] likewise. A [`Journal`](journal) remembers, outside the sandbox, what has to be revoked should
//! the run crash. [`sigv4`] signs requests to AWS.
#![forbid(unsafe_code)]

mod call;
mod error;
mod github;
mod hidden;
pub mod journal;
mod oauth2;
mod origin;
mod reply;
mod revocation;
pub mod sigv4;
mod url;
mod vault;

pub use call::Call;
pub use error::{MintError, RevokeError};
pub use hidden::Hidden;
pub use origin::{Minted, Origin};
pub use revocation::Revocation;
pub use url::Url;

/// Largest answer of a provider in bytes; more is to be refused before it comes here.
pub const MAX_REPLY: usize = 1 << 20;

/// Feeds hostile bytes to every reader of what providers say and of what was remembered. The first byte is the status.
pub fn fuzz(bytes: &[u8]) {
    let status = u16::from(bytes.first().copied().unwrap_or(0)) + 200;
    let body = bytes.get(1..).unwrap_or(&[]);
    origin::fuzz(status, body);
    revocation::fuzz(status, body);
    let _ = journal::read(body);
}

/// Feeds hostile bytes to all that reads what an agent signed: a line each of its signature, of what it says of the body, of path
/// and query, and of a header.
pub fn fuzz_signature(bytes: &[u8]) {
    sigv4::fuzz(bytes);
}
