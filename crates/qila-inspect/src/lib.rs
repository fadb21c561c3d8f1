//! Reading what agents and upstreams send: pure, bounded, fuzzed.
//!
//! Nothing here opens a socket, waits or allocates without a bound: the gateway reads bytes and asks this crate what they
//! are. Each reader answers for hostile bytes as for good ones, and what it does not understand it refuses.
//!
//! | module | reads |
//! |---|---|
//! | [`hello`] | the first bytes of a TLS connection: server name, protocols |
//! | [`dns`] | one DNS question; also writes the answers |
//! | [`request`] | the head of an HTTP/1 request, as bytes and as parsed |
//! | [`websocket`] | WebSocket handshakes, and frames, which it writes anew |
//! | [`grpc`] | the framing of gRPC messages; paths, content types, trailers |
//! | [`events`] | server-sent events |
//! | [`jsonrpc`] | JSON-RPC 2.0 and MCP: messages, batches, streams; tools and their arguments |
//! | [`graphql`] | GraphQL requests: the operation that runs and its root fields |
//! | [`content_coding`] | bodies under gzip, deflate, br and zstd, within bounds |
//! | [`media`] | what kind of body a head announces |
//! | [`filter`] | what looks at payloads on their way: masks, refuses placeholders |
//! | [`mask`] | what an upstream sends back: a credential in any usual spelling becomes `*` |
//! | [`placeholder`] | what an agent sends: a placeholder where it has no business |
#![forbid(unsafe_code)]

pub mod content_coding;
pub mod dns;
mod engine;
pub mod events;
pub mod filter;
mod forms;
pub mod graphql;
pub mod grpc;
pub mod hello;
mod json;
pub mod jsonrpc;
pub mod mask;
pub mod media;
pub mod placeholder;
pub mod request;
pub mod websocket;
