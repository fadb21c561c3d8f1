//! Reading events back, and waiting for more.
use crate::dir::{self, Dir};
use crate::error::LogError;
use crate::frame::{Kind, Parsed};
use crate::leaf;
use crate::scan::MAX_TAIL;
use crate::window::Window;
use qila_types::{Event, RunId};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the log.
    pub index: u64,
    /// The event's JSON, as it was signed.
    pub json: Vec<u8>,
}

impl Entry {
    /// The event; none if it is of a kind this version does not know.
    pub fn event(&self) -> Option<Event> {
        leaf::decode(&self.json)
    }
}

/// The records under one checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub entries: VecDeque<Entry>,
    pub note: Vec<u8>,
}

/// Reads a log's events in order, without its lock and without a key; proves nothing, that is what `verify` does.
///
/// It yields what a checkpoint follows and stops at a torn tail; asked again, it goes on where more was appended.
/// A damaged place is one error, after which it goes on behind it.
#[derive(Debug)]
pub struct Reader {
    dir: Dir,
    window: Option<Window<File>>,
    group: Group,
    ready: VecDeque<Entry>,
    run: Option<RunId>,
    /// Number of the record that comes next.
    next: u64,
    failed: Option<LogError>,
}

impl Reader {
    /// Begins at the first record.
    pub fn open(dir: BorrowedFd<'_>) -> Result<Reader, LogError> {
        Reader::new(Dir::new(dir)?)
    }

    pub(crate) fn new(dir: Dir) -> Result<Reader, LogError> {
        let mut reader = Reader {
            dir,
            window: None,
            group: Group::default(),
            ready: VecDeque::new(),
            run: None,
            next: 0,
            failed: None,
        };
        reader.look()?;
        Ok(reader)
    }

    /// Yields only the events of one run.
    pub fn only(mut self, run: RunId) -> Reader {
        self.run = Some(run);
        self
    }

    /// The next event, waiting for it and looking every so often; none once `stop` says so.
    pub fn follow(&mut self, every: Duration, stop: &dyn Fn() -> bool) -> Result<Option<Entry>, LogError> {
        loop {
            if let Some(entry) = self.next() {
                return entry.map(Some);
            }
            if stop() {
                return Ok(None);
            }
            std::thread::sleep(every);
        }
    }

    /// Opens the file once it is there and sees how long it is.
    fn look(&mut self) -> Result<(), LogError> {
        let io = |e| LogError::io("read the log", e);
        let Some(window) = &mut self.window else {
            if let Some(file) = self.dir.read(dir::LOG).map_err(io)? {
                let length = file.metadata().map_err(io)?.len();
                self.window = Some(Window::new(file, 0, length));
            }
            return Ok(());
        };
        let length = window.file().metadata().map_err(io)?.size();
        let offset = window.offset();
        // What lies after the last checkpoint may have been cut and written anew meanwhile.
        window.seek(offset, length.max(offset));
        Ok(())
    }

    /// The next records that a checkpoint follows; none at the end.
    pub(crate) fn group(&mut self) -> Result<Option<Group>, LogError> {
        let io = |e| LogError::io("read the log", e);
        let Some(window) = &mut self.window else {
            return Ok(None);
        };
        let begin = window.offset();
        self.group = Group::default();
        loop {
            let at = window.offset();
            let frame = match window.frame().map_err(io)? {
                Parsed::Whole(frame) => frame,
                Parsed::Need(_) => {
                    let end = window.end();
                    window.seek(begin, end);
                    return Ok(None);
                }
                Parsed::Damaged(..) | Parsed::Nonsense => {
                    // What came before it in this commit is shown; damage at the very end is a torn tail.
                    let index = self.next;
                    window.skip(1);
                    if !window.resync().map_err(io)? {
                        let end = window.end();
                        window.seek(begin, end);
                        return Ok(None);
                    }
                    self.ready.append(&mut self.group.entries);
                    return Err(LogError::Corrupt {
                        why: "a frame is damaged",
                        index,
                        offset: at,
                    });
                }
            };
            let length = frame.length();
            match frame.kind {
                Kind::Record => {
                    let entry = Entry {
                        index: frame.index,
                        json: frame.payload.to_vec(),
                    };
                    self.next = frame.index.saturating_add(1);
                    self.group.entries.push_back(entry);
                }
                Kind::Checkpoint => {
                    self.group.note = frame.payload.to_vec();
                    window.skip(length);
                    return Ok(Some(std::mem::take(&mut self.group)));
                }
            }
            window.skip(length);
            if window.offset().saturating_sub(begin) > MAX_TAIL {
                self.ready.append(&mut self.group.entries);
                return Err(LogError::Corrupt {
                    why: "a checkpoint is missing",
                    index: self.next,
                    offset: at,
                });
            }
        }
    }

    fn wanted(&self, entry: &Entry) -> bool {
        let Some(run) = &self.run else { return true };
        let id = run.as_str().as_bytes();
        entry.json.windows(id.len()).any(|w| w == id)
            && entry.event().is_some_and(|e| e.run.as_ref() == Some(run))
    }
}

/// Ends where there is nothing more for now; asked again, it looks again.
impl Iterator for Reader {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut looked = false;
        loop {
            while let Some(entry) = self.ready.pop_front() {
                if self.wanted(&entry) {
                    return Some(Ok(entry));
                }
            }
            if let Some(e) = self.failed.take() {
                return Some(Err(e));
            }
            match self.group() {
                Ok(Some(group)) => self.ready = group.entries,
                Ok(None) if looked => return None,
                Ok(None) => {
                    looked = true;
                    if let Err(e) = self.look() {
                        return Some(Err(e));
                    }
                }
                Err(e) => self.failed = Some(e),
            }
        }
    }
}
