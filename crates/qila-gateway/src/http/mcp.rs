//! Messages of an MCP server on their way to the agent: answers pass, requests and notifications as far as the rule allows.
use super::grant::Grant;
use http::HeaderMap;
use qila_inspect::jsonrpc::{self, Body, Kind, Stream};
use qila_inspect::media;

/// Largest message of a server's, in bytes.
const MAX: usize = 4 << 20;

/// What carries the messages.
pub(super) enum McpFilter {
    /// One body, known when it has ended.
    Whole(Vec<u8>),
    /// Events, one message each.
    Events(Box<Stream>),
}

impl McpFilter {
    /// By what the answer says it is.
    pub(super) fn new(headers: &HeaderMap) -> McpFilter {
        match media::media_type(headers).as_deref() {
            Some("text/event-stream") => McpFilter::Events(Box::new(Stream::new(MAX))),
            _ => McpFilter::Whole(Vec::new()),
        }
    }

    /// Takes the next bytes; appends what may go on.
    pub(super) fn push(&mut self, grant: &Grant, piece: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        match self {
            McpFilter::Whole(held) if held.len().saturating_add(piece.len()) > MAX => {
                Err("a message of the MCP server's over 4 MiB".into())
            }
            McpFilter::Whole(held) => {
                held.extend_from_slice(piece);
                Ok(())
            }
            McpFilter::Events(stream) => stream
                .push(piece, |event, body| {
                    if body.is_none_or(|b| may(grant, &b)) {
                        event.write(out);
                    }
                })
                .map_err(|e| format!("what the MCP server sends: {e}")),
        }
    }

    /// Ends it.
    pub(super) fn finish(self, grant: &Grant, out: &mut Vec<u8>) -> Result<(), String> {
        let McpFilter::Whole(held) = self else {
            return Ok(());
        };
        if held.is_empty() {
            return Ok(());
        }
        let body = jsonrpc::read(&held, MAX).map_err(|e| format!("what the MCP server sends: {e}"))?;
        match may(grant, &body) {
            true => {
                out.extend_from_slice(&held);
                Ok(())
            }
            false => Err("a message of the MCP server's that the rule does not allow".into()),
        }
    }
}

fn may(grant: &Grant, body: &Body) -> bool {
    body.messages.iter().all(|m| match m.kind {
        Kind::Response | Kind::Error => true,
        Kind::Request | Kind::Notification => grant.may_send(m.method.as_deref().unwrap_or_default()),
    })
}
