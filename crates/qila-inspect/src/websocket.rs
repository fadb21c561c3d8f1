//! WebSocket (RFC 6455): the handshake, and the frames of one direction, read strictly and written anew.
//!
//! [`request`] and [`response`] check a handshake over HTTP/1.1, [`connect`] and [`connected`] one over HTTP/2 (RFC 8441).
//! Extensions are taken out of the offer and refused in the answer: a compressed payload shows nothing to whoever looks.
//!
//! [`Relay`] takes the bytes of one side as they come and writes frames for the other side. It keeps the head of one frame,
//! one control frame (at most 125 bytes) and what the [`Filter`](crate::filter::Filter) holds back, never a whole frame. It
//! therefore cuts messages into other fragments than it received, as a party between two ends may (RFC 6455, 5.4): each piece
//! of payload that the filter lets go becomes a fragment, what the filter holds back at the end of a piece goes with a later
//! one, and the end of the message releases all. A secret that is split over the fragments of a message is thus found; one
//! that is split over two messages is not, nor one in the lengths of messages.
//!
//! Refused, because an end may read it otherwise or the standard says so: reserved bits and opcodes, a client's frame without
//! a mask and a server's with one, a length that is not written in the shortest way, fragments out of order, control frames
//! that are fragmented or over 125 bytes, text that is not UTF-8, close codes that must not be sent, and anything behind a
//! close frame.
mod handshake;
mod head;
mod relay;
mod utf8;

pub use handshake::{HandshakeError, MAX_PROTOCOLS, Offer, accept, connect, connected, request, response};
pub use relay::{FrameError, Relay, close};

/// Largest payload of a control frame.
pub const MAX_CONTROL: usize = 125;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client, whose frames are masked.
    Client,
    /// The server, whose frames are not.
    Server,
}

/// The fuzzer's way in: any cutting gives the same messages, what is written reads as what was read, and no text that is not
/// UTF-8 passes.
#[doc(hidden)]
pub fn fuzz_websocket(data: &[u8]) {
    relay::fuzz(data);
}
