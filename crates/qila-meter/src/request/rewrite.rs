//! Asking an OpenAI chat stream for its usage, which it tells only when asked.
use super::Unreadable;
use crate::json::{self, Event, Sink};
use crate::key::K;

/// Changes the body of a streamed chat completion so that the stream ends with its usage (`stream_options.include_usage`): none
/// where it asks already or is no stream. All other bytes stay as they are.
///
/// The answer then has one chunk more, without choices, that the agent did not ask for: [`crate::Strip`] takes it out again.
pub fn ask_usage(body: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut places = Places::default();
    json::read(body, &mut places)?;
    if places.twice {
        return Err(Unreadable::Duplicate("stream_options"));
    }
    if !places.stream {
        return Ok(None);
    }
    let (at, replaced, text): (u64, usize, &str) = match (places.value, places.options, places.null) {
        (Some((_, true)), ..) => return Ok(None),
        (Some((at, false)), ..) => (at, places.value_len, "true"),
        (None, Some((at, true)), _) => (at + 1, 0, "\"include_usage\":true"),
        (None, Some((at, false)), _) => (at + 1, 0, "\"include_usage\":true,"),
        (None, None, Some(at)) => (at, 4, "{\"include_usage\":true}"),
        (None, None, None) => {
            let Some(at) = places.end else {
                return Err(Unreadable::NoObject);
            };
            (at, 0, ",\"stream_options\":{\"include_usage\":true}")
        }
    };
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let (Some(before), Some(after)) = (body.get(..at), body.get(at.saturating_add(replaced)..)) else {
        return Err(Unreadable::Kind("stream_options"));
    };
    Ok(Some([before, text.as_bytes(), after].concat()))
}

#[derive(Default)]
struct Places {
    stream: bool,
    /// Where `stream_options` begins, and whether it is empty.
    options: Option<(u64, bool)>,
    null: Option<u64>,
    /// Where `include_usage`'s value is, and whether it asks.
    value: Option<(u64, bool)>,
    value_len: usize,
    end: Option<u64>,
    twice: bool,
}

impl Sink for Places {
    fn event(&mut self, path: &[K], at: u64, event: Event<'_>) -> bool {
        match (path, event) {
            ([], Event::End) => self.end = Some(at),
            ([K::Stream], Event::Bool(value)) => self.stream = value,
            ([K::StreamOptions], Event::Key(_)) => {
                self.twice |= self.options.is_some() || self.null.is_some()
            }
            ([K::StreamOptions], Event::Begin { list: false }) => self.options = Some((at, true)),
            ([K::StreamOptions], Event::Null) => self.null = Some(at),
            (
                [K::StreamOptions],
                Event::Begin { .. } | Event::TextEnd | Event::Number(_) | Event::Bool(_),
            ) => {
                self.twice = true;
            }
            ([K::StreamOptions, key], Event::Key(_)) => {
                if let Some((_, empty)) = &mut self.options {
                    *empty = false;
                }
                self.twice |= *key == K::IncludeUsage && self.value.is_some();
            }
            ([K::StreamOptions, K::IncludeUsage], event) => {
                self.value_len = match event {
                    Event::Bool(true) | Event::Null => 4,
                    Event::Bool(false) => 5,
                    _ => {
                        self.twice = true;
                        0
                    }
                };
                self.value = Some((at, event == Event::Bool(true)));
            }
            _ => {}
        }
        false
    }
}
