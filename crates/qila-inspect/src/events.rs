//! Server-sent events (`text/event-stream`, as the HTML standard defines it), event by event.
//!
//! The events are read from any cutting of the bytes, and written anew ([`Event::write`]), so that what was judged is
//! what the agent reads. Fields that the standard does not know, and comments, are not passed on; an event of comments alone
//! keeps the connection alive and is passed on as an empty comment. Refused is what is not UTF-8 (readers replace it each in
//! their own way) and what is longer than the limit. A beginning of an event at the end of the stream is dropped, as the
//! standard says.
use memchr::memchr2;

/// Largest event, in bytes of its fields together, the unfinished line included.
pub const MAX_EVENT: usize = 4 * 1024 * 1024;

/// Why a stream of events is not read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Longer than the limit.
    #[error("an event of more than {0} bytes")]
    Long(usize),
    /// Not UTF-8.
    #[error("an event that is not UTF-8")]
    NotUtf8,
}

/// One event: what lies between two empty lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its type; none: `message`.
    pub name: Option<&'a str>,
    /// Its data lines, joined by line feeds. None: nothing is dispatched, and only the fields below count.
    pub data: Option<&'a str>,
    /// Where to take the stream up again.
    pub id: Option<&'a str>,
    /// Milliseconds to wait before connecting again.
    pub retry: Option<u64>,
}

impl Event<'_> {
    /// Appends the event as it is to be sent.
    pub fn write(&self, out: &mut Vec<u8>) {
        if *self == Event::default() {
            out.extend_from_slice(b":\n");
        }
        let mut field = |name: &str, value: &str| {
            for part in [name, ": ", value, "\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        };
        if let Some(name) = self.name {
            field("event", name);
        }
        if let Some(id) = self.id {
            field("id", id);
        }
        if let Some(retry) = self.retry {
            field("retry", &retry.to_string());
        }
        for line in self.data.into_iter().flat_map(|data| data.split('\n')) {
            field("data", line);
        }
        out.push(b'\n');
    }
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    limit: usize,
    /// The line at hand.
    line: Vec<u8>,
    /// Whether a line feed that comes now belongs to the carriage return before it.
    feed: bool,
    /// Whether the first line, with its byte order mark, was read.
    begun: bool,
    name: String,
    /// Each line with a line feed behind it.
    data: String,
    id: Option<String>,
    retry: Option<u64>,
    /// Whether the event has any line.
    any: bool,
    failed: Option<EventError>,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader::new(MAX_EVENT)
    }
}

impl Reader {
    /// A reader of events of at most `limit` bytes.
    pub fn new(limit: usize) -> Reader {
        Reader {
            limit,
            line: Vec::new(),
            feed: false,
            begun: false,
            name: String::new(),
            data: String::new(),
            id: None,
            retry: None,
            any: false,
            failed: None,
        }
    }

    /// Takes the next bytes; calls `each` with every event that ends in them. After an error it stays with it.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(Event<'_>)) -> Result<(), EventError> {
        if let Some(why) = self.failed {
            return Err(why);
        }
        let done = self.read(piece, &mut each);
        self.failed = done.err();
        done
    }

    /// Bytes that are kept.
    pub fn held(&self) -> usize {
        self.line.len() + self.fields()
    }

    fn fields(&self) -> usize {
        self.name.len() + self.data.len() + self.id.as_ref().map_or(0, String::len)
    }

    fn read(&mut self, mut rest: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), EventError> {
        loop {
            if rest.is_empty() {
                return Ok(());
            }
            if std::mem::take(&mut self.feed) {
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            let end = memchr2(b'\r', b'\n', rest);
            let (more, behind) = rest
                .split_at_checked(end.unwrap_or(rest.len()))
                .unwrap_or_default();
            if self.held().saturating_add(more.len()) > self.limit {
                return Err(EventError::Long(self.limit));
            }
            self.line.extend_from_slice(more);
            let Some((&ending, behind)) = behind.split_first() else {
                return Ok(());
            };
            rest = behind;
            let line = std::mem::take(&mut self.line);
            self.line(&line, each)?;
            // The room is kept for the next line, unless it is much.
            if line.capacity() <= 64 * 1024 {
                self.line = line;
                self.line.clear();
            }
            self.feed = ending == b'\r';
        }
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(Event<'_>)) -> Result<(), EventError> {
        let line = std::str::from_utf8(line).map_err(|_| EventError::NotUtf8)?;
        let begun = std::mem::replace(&mut self.begun, true);
        let line = match line.strip_prefix('\u{feff}') {
            Some(line) if !begun => line,
            _ => line,
        };
        if line.is_empty() {
            self.dispatch(each);
            return Ok(());
        }
        self.any = true;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                // The line feed counts too, or a stream of empty data lines would have no bound.
                if self.fields() + value.len() >= self.limit {
                    return Err(EventError::Long(self.limit));
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(self.id.get_or_insert_default()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, each: &mut impl FnMut(Event<'_>)) {
        if !std::mem::take(&mut self.any) {
            return;
        }
        each(Event {
            name: Some(self.name.as_str()).filter(|name| !name.is_empty()),
            data: self.data.strip_suffix('\n'),
            id: self.id.as_deref(),
            retry: self.retry,
        });
        self.name.clear();
        self.data.clear();
        // A large event leaves no large memory behind.
        self.data.shrink_to(64 * 1024);
        self.id = None;
        self.retry = None;
    }
}

/// The fuzzer's way in: any cutting gives the same events, and what is written is read as what was read.
#[doc(hidden)]
pub fn fuzz_events(data: &[u8]) {
    const LIMIT: usize = 512;
    let Some((&cut, data)) = data.split_first() else {
        return;
    };
    type Owned = (Option<String>, Option<String>, Option<String>, Option<u64>);
    let read = |bytes: &[u8], step: usize, limit: usize| {
        let (mut reader, mut events) = (Reader::new(limit), Vec::<Owned>::new());
        let mut written = Vec::new();
        let done = bytes.chunks(step.max(1)).try_for_each(|piece| {
            let done = reader.push(piece, |e| {
                let own = |text: Option<&str>| text.map(str::to_owned);
                events.push((own(e.name), own(e.data), own(e.id), e.retry));
                e.write(&mut written);
            });
            assert!(reader.held() <= limit);
            done
        });
        (done, events, written)
    };
    let (done, events, written) = read(data, data.len(), LIMIT);
    let cut = read(data, usize::from(cut), LIMIT);
    assert_eq!((done, &events), (cut.0, &cut.1));
    let (again, same, twice) = read(&written, 7, usize::MAX);
    assert_eq!(again, Ok(()));
    assert!(same == events && twice == written);
}
