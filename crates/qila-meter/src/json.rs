//! A JSON reader that is fed in pieces and keeps none of them.
//!
//! Its memory is a stack of the open containers ([`MAX_DEPTH`]) and one short key or number; a string goes to the sink as it
//! comes. So a body of any size is read in the same little room, and any cutting of it says the same.
use crate::key::K;

/// Deepest nesting.
pub(crate) const MAX_DEPTH: usize = 96;
/// Longest key that can be a known one; a longer one is [`K::Other`].
const MAX_KEY: usize = 64;
/// Longest number that is read; a longer one counts as larger than all.
const MAX_NUMBER: usize = 64;

/// Why bytes are not one JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON.
    #[error("it is not JSON")]
    Syntax,
    /// Nested deeper than 96 levels.
    #[error("it nests deeper than {MAX_DEPTH} levels")]
    Deep,
    /// It ends before the value does.
    #[error("it ends too early")]
    Incomplete,
}

/// What the reader saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// A key, decoded and cut to 65 bytes; the path already ends in it.
    Key(&'a [u8]),
    /// An object or list begins.
    Begin { list: bool },
    /// It ends.
    End,
    /// A part of a string, decoded.
    Text(&'a [u8]),
    /// The string ends.
    TextEnd,
    /// A number as written.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// A part of a container that was asked for as it is, without the space between its parts.
    Raw(&'a [u8]),
}

/// Takes what the reader sees.
pub(crate) trait Sink {
    /// `at` is where in all bytes so far the token begins (of a string: where the piece of input begins). True on
    /// [`Event::Begin`] asks for that container as [`Event::Raw`].
    fn event(&mut self, path: &[K], at: u64, event: Event<'_>) -> bool;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    KeyOrEnd,
    Key,
    Colon,
    After,
    Text,
    Escape,
    Hex { left: u8, value: u32 },
    Word { word: &'static [u8], at: usize },
    Number,
    Done,
    Failed(JsonError),
}

/// The reader of one value.
#[derive(Debug, Clone)]
pub(crate) struct Json {
    state: State,
    /// Open containers; true for a list.
    stack: Vec<bool>,
    path: Vec<K>,
    /// The string being read is a key.
    key: bool,
    /// The key or number being read.
    buffer: Vec<u8>,
    /// The first half of a surrogate pair.
    high: Option<u32>,
    /// Depth of the container that the sink wants as it is.
    raw: Option<usize>,
    at: u64,
}

impl Default for Json {
    fn default() -> Json {
        Json {
            state: State::Value,
            stack: Vec::new(),
            path: Vec::new(),
            key: false,
            buffer: Vec::new(),
            high: None,
            raw: None,
            at: 0,
        }
    }
}

impl Json {
    /// Begins anew, keeping its memory.
    pub(crate) fn reset(&mut self) {
        self.state = State::Value;
        self.stack.clear();
        self.path.clear();
        self.buffer.clear();
        self.key = false;
        self.high = None;
        self.raw = None;
        self.at = 0;
    }

    /// Reads the next piece.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if matches!(self.state, State::Failed(_)) {
                return;
            }
            let was_raw = self.raw.is_some();
            let taken = match self.state {
                State::Text => self.text(rest, sink),
                State::Number if is_number_byte(byte) => {
                    if self.buffer.len() <= MAX_NUMBER {
                        self.buffer.push(byte);
                    }
                    1
                }
                State::Number => {
                    // The byte after a number is read again as what follows it.
                    self.number(sink);
                    0
                }
                _ => {
                    self.byte(byte, sink);
                    1
                }
            };
            let (piece, next) = rest.split_at(taken.min(rest.len()));
            let outside = !matches!(self.state, State::Text | State::Escape | State::Hex { .. });
            if (was_raw || self.raw.is_some()) && !piece.is_empty() {
                let blank = outside && matches!(piece, [b' ' | b'\t' | b'\r' | b'\n']);
                if !blank {
                    sink.event(&self.path, self.at, Event::Raw(piece));
                }
                if was_raw && self.raw.is_none() {
                    sink.event(&self.path, self.at, Event::End);
                    self.value_done();
                }
            }
            self.at = self.at.saturating_add(taken as u64);
            rest = next;
        }
    }

    /// Ends the value.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) -> Result<(), JsonError> {
        if self.state == State::Number && self.stack.is_empty() {
            self.number(sink);
        }
        match self.state {
            State::Done => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(JsonError::Incomplete),
        }
    }

    fn emit(&self, sink: &mut impl Sink, event: Event<'_>) {
        if self.raw.is_none() {
            sink.event(&self.path, self.at, event);
        }
    }

    fn fail(&mut self, error: JsonError) {
        self.state = State::Failed(error);
    }

    /// A run of a string's bytes: up to its end, an escape or a byte that must not be there.
    fn text(&mut self, rest: &[u8], sink: &mut impl Sink) -> usize {
        let run = rest
            .iter()
            .position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f))
            .unwrap_or(rest.len());
        if run > 0 {
            self.unpaired(sink);
            self.some_text(rest.get(..run).unwrap_or_default(), sink);
            return run;
        }
        match rest.first() {
            Some(b'"') => {
                self.unpaired(sink);
                self.text_done(sink);
            }
            Some(b'\\') => self.state = State::Escape,
            _ => self.fail(JsonError::Syntax),
        }
        1
    }

    fn some_text(&mut self, text: &[u8], sink: &mut impl Sink) {
        if self.key {
            let room = (MAX_KEY + 1).saturating_sub(self.buffer.len());
            self.buffer.extend(text.iter().take(room));
        } else {
            self.emit(sink, Event::Text(text));
        }
    }

    /// A first half of a surrogate pair without its second stands for nothing.
    fn unpaired(&mut self, sink: &mut impl Sink) {
        if self.high.take().is_some() {
            self.some_text("\u{fffd}".as_bytes(), sink);
        }
    }

    fn text_done(&mut self, sink: &mut impl Sink) {
        if self.key {
            let key = std::mem::take(&mut self.buffer);
            self.path.push(K::of(&key));
            self.emit(sink, Event::Key(&key));
            self.buffer = key;
            self.buffer.clear();
            self.key = false;
            self.state = State::Colon;
        } else {
            self.emit(sink, Event::TextEnd);
            self.value_done();
        }
    }

    fn value_done(&mut self) {
        self.state = match self.stack.last() {
            None => State::Done,
            Some(list) => {
                if !list {
                    self.path.pop();
                }
                State::After
            }
        };
    }

    fn number(&mut self, sink: &mut impl Sink) {
        let digits = std::mem::take(&mut self.buffer);
        let text = std::str::from_utf8(&digits).unwrap_or("");
        if digits.len() > MAX_NUMBER {
            let stand_in = if text.starts_with('-') { "-1" } else { "1e999" };
            self.emit(sink, Event::Number(stand_in));
            self.value_done();
        } else if is_number(text) {
            self.emit(sink, Event::Number(text));
            self.value_done();
        } else {
            self.fail(JsonError::Syntax);
        }
        self.buffer = digits;
        self.buffer.clear();
    }

    fn byte(&mut self, byte: u8, sink: &mut impl Sink) {
        let blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Value | State::ValueOrEnd | State::KeyOrEnd | State::Key | State::Colon | State::After
                if blank => {}
            State::Done if blank => {}
            State::ValueOrEnd if byte == b']' => self.close(true, sink),
            State::Value | State::ValueOrEnd => self.begin_value(byte, sink),
            State::KeyOrEnd if byte == b'}' => self.close(false, sink),
            State::KeyOrEnd | State::Key if byte == b'"' => {
                self.key = true;
                self.buffer.clear();
                self.state = State::Text;
            }
            State::Colon if byte == b':' => self.state = State::Value,
            State::After => match (byte, self.stack.last()) {
                (b',', Some(true)) => self.state = State::Value,
                (b',', Some(false)) => self.state = State::Key,
                (b']', Some(true)) => self.close(true, sink),
                (b'}', Some(false)) => self.close(false, sink),
                _ => self.fail(JsonError::Syntax),
            },
            State::Escape => self.escape(byte, sink),
            State::Hex { left, value } => match char::from(byte).to_digit(16) {
                Some(digit) if left > 1 => {
                    self.state = State::Hex {
                        left: left - 1,
                        value: value * 16 + digit,
                    }
                }
                Some(digit) => self.unit(value * 16 + digit, sink),
                None => self.fail(JsonError::Syntax),
            },
            State::Word { word, at } => match word.get(at) {
                Some(wanted) if *wanted == byte && at + 1 == word.len() => {
                    let event = match word {
                        b"true" => Event::Bool(true),
                        b"false" => Event::Bool(false),
                        _ => Event::Null,
                    };
                    let begun = self.at.saturating_sub(at as u64);
                    if self.raw.is_none() {
                        sink.event(&self.path, begun, event);
                    }
                    self.value_done();
                }
                Some(wanted) if *wanted == byte => self.state = State::Word { word, at: at + 1 },
                _ => self.fail(JsonError::Syntax),
            },
            _ => self.fail(JsonError::Syntax),
        }
    }

    fn begin_value(&mut self, byte: u8, sink: &mut impl Sink) {
        match byte {
            b'{' | b'[' => self.open(byte == b'[', sink),
            b'"' => {
                self.key = false;
                self.state = State::Text;
            }
            b't' => self.state = State::Word { word: b"true", at: 1 },
            b'f' => {
                self.state = State::Word {
                    word: b"false",
                    at: 1,
                }
            }
            b'n' => self.state = State::Word { word: b"null", at: 1 },
            b'-' | b'0'..=b'9' => {
                self.buffer.clear();
                self.buffer.push(byte);
                self.state = State::Number;
            }
            _ => self.fail(JsonError::Syntax),
        }
    }

    fn open(&mut self, list: bool, sink: &mut impl Sink) {
        if self.stack.len() >= MAX_DEPTH {
            self.fail(JsonError::Deep);
            return;
        }
        if self.raw.is_none() && sink.event(&self.path, self.at, Event::Begin { list }) {
            self.raw = Some(self.stack.len());
        }
        self.stack.push(list);
        if list {
            self.path.push(K::Elem);
            self.state = State::ValueOrEnd;
        } else {
            self.state = State::KeyOrEnd;
        }
    }

    fn close(&mut self, list: bool, sink: &mut impl Sink) {
        if list {
            self.path.pop();
        }
        self.stack.pop();
        if self.raw == Some(self.stack.len()) {
            // `push` hands the last piece over, then ends the value.
            self.raw = None;
            self.state = State::After;
            return;
        }
        self.emit(sink, Event::End);
        self.value_done();
    }

    fn escape(&mut self, byte: u8, sink: &mut impl Sink) {
        let plain: &[u8] = match byte {
            b'"' => b"\"",
            b'\\' => b"\\",
            b'/' => b"/",
            b'b' => b"\x08",
            b'f' => b"\x0c",
            b'n' => b"\n",
            b'r' => b"\r",
            b't' => b"\t",
            b'u' => {
                self.state = State::Hex { left: 4, value: 0 };
                return;
            }
            _ => return self.fail(JsonError::Syntax),
        };
        self.unpaired(sink);
        self.some_text(plain, sink);
        self.state = State::Text;
    }

    /// One `\uXXXX`.
    fn unit(&mut self, unit: u32, sink: &mut impl Sink) {
        self.state = State::Text;
        let code = match (self.high.take(), unit) {
            (Some(high), 0xdc00..=0xdfff) => 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00),
            (before, _) => {
                if before.is_some() {
                    self.some_text("\u{fffd}".as_bytes(), sink);
                }
                if matches!(unit, 0xd800..=0xdbff) {
                    self.high = Some(unit);
                    return;
                }
                unit
            }
        };
        let c = char::from_u32(code).unwrap_or('\u{fffd}');
        let mut utf8 = [0; 4];
        let text = c.encode_utf8(&mut utf8);
        self.some_text(text.as_bytes(), sink);
    }
}

fn is_number_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// Whether a text is a number as JSON spells it.
fn is_number(text: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e)))
}

/// A number as a count: rounded up, 0 where negative, the largest where it is too large.
pub(crate) fn count(number: &str) -> u64 {
    if number.starts_with('-') {
        return 0;
    }
    if number.bytes().all(|b| b.is_ascii_digit()) {
        return number.parse().unwrap_or(u64::MAX);
    }
    // A cast from a float saturates.
    number.parse::<f64>().map_or(u64::MAX, |v| v.ceil() as u64)
}

/// Reads one whole value.
pub(crate) fn read(bytes: &[u8], sink: &mut impl Sink) -> Result<(), JsonError> {
    let mut json = Json::default();
    json.push(bytes, sink);
    json.finish(sink)
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
