//! Server-sent events, read in pieces and kept nowhere: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! Only the data of events is told; names, ids and retry times mean nothing to the model APIs, whose data say themselves
//! what they are. There is no longest line and no longest event, since none is held.

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A part of the data of the open event.
    Data(&'a [u8]),
    /// The event ends.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// In the byte order mark that may open the stream; so many of its bytes were read.
    #[default]
    Start,
    Mark(u8),
    /// In a field's name; so many bytes of `data` were read.
    Name(usize),
    /// After the colon of `data`, where one space is left out.
    Space,
    Data,
    /// In a line that says nothing here.
    Skip,
}

/// The reader of one stream.
#[derive(Debug, Clone, Default)]
pub struct Sse {
    state: State,
    /// The last byte was a carriage return.
    returned: bool,
    /// The open event has a line of data.
    open: bool,
}

const DATA: &[u8] = b"data";
const MARK: &[u8] = b"\xef\xbb\xbf";

impl Sse {
    /// Reads the next piece.
    pub fn push(&mut self, bytes: &[u8], take: &mut impl FnMut(Item<'_>)) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let mut taken = 1;
            if byte == b'\n' && self.returned {
                self.returned = false;
            } else if matches!(byte, b'\n' | b'\r') {
                self.returned = byte == b'\r';
                self.line_ends(take);
            } else {
                self.returned = false;
                taken = self.inside(byte, rest, take);
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Ends the stream. True where an event was left open: a client forgets such an event.
    pub fn finish(&mut self, take: &mut impl FnMut(Item<'_>)) -> bool {
        let half_a_name = matches!(self.state, State::Space | State::Data);
        let open = self.open || half_a_name;
        if open {
            take(Item::End);
        }
        *self = Sse::default();
        open
    }

    fn inside(&mut self, byte: u8, rest: &[u8], take: &mut impl FnMut(Item<'_>)) -> usize {
        match self.state {
            State::Start if MARK.first() == Some(&byte) => self.state = State::Mark(1),
            State::Mark(n) if MARK.get(usize::from(n)) == Some(&byte) => {
                self.state = if n == 2 {
                    State::Name(0)
                } else {
                    State::Mark(n + 1)
                };
            }
            State::Start => {
                self.state = State::Name(0);
                return 0;
            }
            State::Name(n) if DATA.get(n) == Some(&byte) => self.state = State::Name(n + 1),
            State::Name(n) if n == DATA.len() && byte == b':' => {
                self.begin(take);
                self.state = State::Space;
            }
            State::Space if byte == b' ' => self.state = State::Data,
            State::Space | State::Data => {
                self.state = State::Data;
                let run = rest
                    .iter()
                    .position(|b| matches!(b, b'\n' | b'\r'))
                    .unwrap_or(rest.len());
                take(Item::Data(rest.get(..run).unwrap_or_default()));
                return run;
            }
            State::Skip => {
                return rest
                    .iter()
                    .position(|b| matches!(b, b'\n' | b'\r'))
                    .unwrap_or(rest.len());
            }
            State::Name(_) | State::Mark(_) => self.state = State::Skip,
        }
        1
    }

    /// A line of data begins.
    fn begin(&mut self, take: &mut impl FnMut(Item<'_>)) {
        if self.open {
            take(Item::Data(b"\n"));
        }
        self.open = true;
    }

    fn line_ends(&mut self, take: &mut impl FnMut(Item<'_>)) {
        match self.state {
            State::Name(0) | State::Start if self.open => {
                self.open = false;
                take(Item::End);
            }
            State::Name(n) if n == DATA.len() => self.begin(take),
            _ => {}
        }
        self.state = State::Name(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(pieces: &[&[u8]]) -> (Vec<String>, bool) {
        let (mut done, mut open) = (Vec::new(), Vec::new());
        let mut take = |item: Item<'_>| match item {
            Item::Data(piece) => open.extend_from_slice(piece),
            Item::End => done.push(String::from_utf8_lossy(&std::mem::take(&mut open)).into_owned()),
        };
        let mut sse = Sse::default();
        for piece in pieces {
            sse.push(piece, &mut take);
        }
        let unfinished = sse.finish(&mut take);
        (done, unfinished)
    }

    #[test]
    fn the_data_of_events() {
        for (stream, expected, unfinished) in [
            ("data: a\n\n", vec!["a"], false),
            ("data:a\r\ndata:  b\r\n\r\n", vec!["a\n b"], false),
            ("\u{feff}data: a\r\rdata: b\n\n", vec!["a", "b"], false),
            (
                ": hello\nevent: x\nid: 1\ndata: a\nretry: 5\n\n",
                vec!["a"],
                false,
            ),
            ("event: x\n\ndata\n\ndatax: 1\ndat: 2\n\n", vec![""], false),
            ("data: a\n", vec!["a"], true),
            ("data: a", vec!["a"], true),
            ("data: a\n\ndat", vec!["a"], false),
            (" data: a\n\nData: b\n\n", vec![], false),
            ("data: a:b: c\n\n", vec!["a:b: c"], false),
            ("\n\n\r\n", vec![], false),
        ] {
            assert_eq!(
                events(&[stream.as_bytes()]),
                (expected.iter().map(|s| s.to_string()).collect(), unfinished),
                "{stream:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_cutting_reads_the_same(parts in prop::collection::vec(prop::sample::select(vec![
            "data", ":", " ", "a", "\n", "\r", "\r\n", "\u{feff}", "event: x", "{}",
        ]), 0..30), cut in 1usize..6) {
            let stream = parts.concat();
            let pieces: Vec<&[u8]> = stream.as_bytes().chunks(cut).collect();
            prop_assert_eq!(events(&pieces), events(&[stream.as_bytes()]));
        }
    }
}
