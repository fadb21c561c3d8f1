//! Messages of an event stream.
use super::{Body, JsonRpcError, read};
use crate::events::{Event, EventError, Reader};

/// Why a stream is not read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The stream itself.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A message in it.
    #[error(transparent)]
    Message(#[from] JsonRpcError),
}

/// Reads the messages that a server sends as events. Each event is given with its message, to be written on or not. None: an
/// event without data, or the `endpoint` event of MCP's older transport. Events of other types carry no messages; they are
/// left out, whatever they say.
#[derive(Debug)]
pub struct Stream {
    reader: Reader,
    limit: usize,
    failed: Option<StreamError>,
}

impl Stream {
    /// A stream of messages of at most `limit` bytes.
    pub fn new(limit: usize) -> Stream {
        Stream {
            // Room for the event's other fields.
            reader: Reader::new(limit.saturating_add(4096)),
            limit,
            failed: None,
        }
    }

    /// Takes the next bytes; calls `each` with every event that ends in them. After an error it stays with it.
    pub fn push(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(Event<'_>, Option<Body>),
    ) -> Result<(), StreamError> {
        if let Some(why) = self.failed {
            return Err(why);
        }
        let (mut failed, limit) = (None, self.limit);
        let done = self.reader.push(piece, |event| {
            if failed.is_none() {
                match message(&event, limit) {
                    Ok(Some(body)) => each(event, body),
                    Ok(None) => {}
                    Err(why) => failed = Some(StreamError::Message(why)),
                }
            }
        });
        self.failed = failed.or(done.err().map(StreamError::Event));
        self.failed.map_or(Ok(()), Err)
    }
}

/// The message of an event that may have one; none: one that is left out.
fn message(event: &Event<'_>, limit: usize) -> Result<Option<Option<Body>>, JsonRpcError> {
    match (event.name, event.data) {
        (None | Some("message"), Some("") | None) | (Some("endpoint"), _) => Ok(Some(None)),
        (None | Some("message"), Some(data)) => read(data.as_bytes(), limit).map(|body| Some(Some(body))),
        _ => Ok(None),
    }
}

/// A body as an event is the same body, and any bytes as a stream are no panic.
pub(super) fn fuzz(data: &[u8]) {
    let run = |bytes: &[u8], step: usize| {
        let (mut stream, mut seen) = (Stream::new(1 << 16), Vec::new());
        let done = bytes
            .chunks(step.max(1))
            .try_for_each(|piece| stream.push(piece, |_, body| seen.push(body)));
        (done, seen)
    };
    assert_eq!(run(data, data.len()), run(data, 3));
    let Ok(body) = read(data, 1 << 16) else { return };
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut bytes = Vec::new();
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let event = Event {
        data: Some(&text),
        ..Event::default()
    };
    event.write(&mut bytes);
    assert_eq!(run(&bytes, 7), (Ok(()), vec![Some(body)]));
}
