//! The Connect protocol, as far as E2B's SDKs speak it: POST, JSON and protobuf, unary and streams, no compression.
//! <https://connectrpc.com/docs/protocol>
mod body;
mod call;
mod codec;
mod downstream;
mod envelope;
mod fault;
mod unary;
mod upstream;

pub(crate) use call::Call;
pub(crate) use downstream::{Closed, Out, downstream};
pub(crate) use fault::{Code, Fault, words};
pub(crate) use unary::unary;
pub(crate) use upstream::{Messages, upstream};

/// Largest message in bytes: what is read of one request, or of one envelope of a stream.
pub(crate) const MAX_MESSAGE: usize = 2 << 20;
