//! Taking out of a stream what the agent did not ask for.
use crate::json::{Event, Json, Sink};
use crate::key::K;
use crate::sse::{Item, Sse};

/// Largest event that is held back until it is known; a larger one is passed on as it comes.
const MAX_HELD: usize = 16 * 1024;

/// Takes the chunk that tells the usage out of an OpenAI chat stream, for an agent that did not ask for it
/// ([`crate::ask_usage`]): it has no choices, and programs that take the first one of every chunk break on it.
///
/// Everything else passes unchanged, event by event: an event is passed on with its last byte.
#[derive(Debug, Default)]
pub struct Strip {
    sse: Sse,
    json: Json,
    look: Look,
    held: Vec<u8>,
    /// The event that is open is too large to be the one.
    passing: bool,
    /// An event ended with a carriage return, and was passed on or not: so is the line feed that may follow.
    returned: Option<bool>,
}

#[derive(Debug, Default)]
struct Look {
    choices: Option<bool>,
    usage: bool,
    broken: bool,
}

impl Sink for Look {
    fn event(&mut self, path: &[K], _at: u64, event: Event<'_>) -> bool {
        match (path, event) {
            ([K::Choices], Event::Begin { list: true }) => {
                self.choices.get_or_insert(true);
            }
            ([K::Choices], Event::Key(_) | Event::End) => {}
            ([K::Choices, ..], _) => self.choices = Some(false),
            ([K::Usage], Event::Begin { list: false }) => self.usage = true,
            _ => {}
        }
        false
    }
}

impl Strip {
    /// Reads the next piece and adds to `out` what may be passed on.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            self.byte(*byte, out);
        }
    }

    /// Ends the stream: what is still held is passed on.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        let returned = self.returned.take();
        if let (Some(passed), b'\n') = (returned, byte) {
            out.extend(passed.then_some(byte));
            self.sse.push(&[byte], &mut |_| {});
            return;
        }
        if self.passing {
            out.push(byte);
        } else {
            self.held.push(byte);
            if self.held.len() > MAX_HELD {
                out.append(&mut self.held);
                self.passing = true;
            }
        }
        let Strip { sse, json, look, .. } = self;
        let mut ended = false;
        sse.push(&[byte], &mut |item| match item {
            Item::Data(piece) => json.push(piece, look),
            Item::End => {
                look.broken = json.finish(look).is_err();
                json.reset();
                ended = true;
            }
        });
        if ended {
            let look = std::mem::take(&mut self.look);
            let extra = look.choices == Some(true) && look.usage && !look.broken && !self.passing;
            if extra {
                self.held.clear();
            }
            self.returned = (byte == b'\r').then_some(!extra);
            out.append(&mut self.held);
            self.passing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strip(stream: &str, cut: usize) -> String {
        let (mut strip, mut out) = (Strip::default(), Vec::new());
        for piece in stream.as_bytes().chunks(cut) {
            strip.push(piece, &mut out);
        }
        strip.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    const HI: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n";
    const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n";

    #[test]
    fn only_the_chunk_of_usage_goes() {
        for cut in [1, 7, 4096] {
            assert_eq!(
                strip(&format!("{HI}{USAGE}data: [DONE]\n\n"), cut),
                format!("{HI}data: [DONE]\n\n")
            );
        }
        // Azure's first chunk has no choices, and no usage.
        for kept in [
            "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
            "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}\n\n",
            "data: {\"choices\":[],\"usage\":{}}",
            ": comment\n\n",
            "event: x\r\ndata: 1\r\n\r\n",
        ] {
            assert_eq!(strip(kept, 3), kept);
        }
        let crlf = format!("{HI}{USAGE}{HI}").replace('\n', "\r\n");
        assert_eq!(strip(&crlf, 5), format!("{HI}{HI}").replace('\n', "\r\n"));
        let large = format!(
            "data: {{\"choices\":[],\"usage\":{{}},\"x\":\"{}\"}}\n\n",
            "x".repeat(MAX_HELD)
        );
        assert_eq!(
            strip(&format!("{large}{USAGE}{HI}"), 1000),
            format!("{large}{HI}")
        );
    }

    proptest! {
        #[test]
        fn what_is_no_usage_passes(stream in "(data: |\\{\\}|\\[|\\]|\n|\r|x|\"choices\":){0,40}", cut in 1usize..9) {
            prop_assert_eq!(strip(&stream, cut), stream);
        }
    }
}
