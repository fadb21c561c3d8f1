//! A bounded window that slides over a file.
use crate::frame::{self, HEADER, MAGIC, MAX_PAYLOAD, Parsed};
use std::borrow::Borrow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const SIZE: usize = 256 * 1024;
/// Bytes hashed in vain before whole frames are skipped.
const MOST_WASTED: u64 = 256 << 20;
/// The longest frame.
pub const LONGEST: usize = HEADER + MAX_PAYLOAD;

/// Bytes of a file from an offset on, up to an end that does not move unless told.
#[derive(Debug)]
pub struct Window<F> {
    file: F,
    /// Offset in the file of the first byte not consumed.
    offset: u64,
    end: u64,
    bytes: Vec<u8>,
    start: usize,
    /// Bytes hashed in vain while looking for a frame.
    wasted: u64,
}

impl<F: Borrow<File>> Window<F> {
    /// Begins at an offset; never looks beyond the end.
    pub fn new(file: F, offset: u64, end: u64) -> Window<F> {
        Window {
            file,
            offset,
            end,
            bytes: Vec::new(),
            start: 0,
            wasted: 0,
        }
    }

    /// Where it is in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Where it ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Goes somewhere else, with another end.
    pub fn seek(&mut self, offset: u64, end: u64) {
        (self.offset, self.end, self.start) = (offset, end, 0);
        self.bytes.clear();
    }

    /// The file.
    pub fn file(&self) -> &File {
        self.file.borrow()
    }

    /// At least this many bytes, fewer only at the end.
    pub fn fill(&mut self, need: usize) -> io::Result<&[u8]> {
        if self.bytes.len() - self.start < need {
            self.bytes.drain(..self.start);
            self.start = 0;
            let have = self.bytes.len();
            let left = self.end.saturating_sub(self.offset).saturating_sub(have as u64);
            let want = have + left.min((SIZE - have.min(SIZE)) as u64) as usize;
            self.bytes.resize(want, 0);
            let mut at = have;
            while let Some(free) = self.bytes.get_mut(at..).filter(|b| !b.is_empty()) {
                match self.file.borrow().read_at(free, self.offset + at as u64) {
                    Ok(0) => break,
                    Ok(n) => at += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        self.bytes.truncate(at);
                        return Err(e);
                    }
                }
            }
            self.bytes.truncate(at);
        }
        Ok(self.bytes.get(self.start..).unwrap_or_default())
    }

    /// The frame here; [`Parsed::Need`] only at the end.
    pub fn frame(&mut self) -> io::Result<Parsed<'_>> {
        let need = match frame::parse(self.fill(HEADER)?) {
            Parsed::Need(need) => need,
            _ => HEADER,
        };
        Ok(frame::parse(self.fill(need)?))
    }

    /// Consumes bytes that were looked at.
    pub fn skip(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes.len() - self.start);
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Goes forward to the next whole frame; false at the end.
    pub fn resync(&mut self) -> io::Result<bool> {
        loop {
            let generous = self.wasted < MOST_WASTED;
            let here = self.fill(LONGEST)?;
            if here.is_empty() {
                return Ok(false);
            }
            match here.iter().position(|b| *b == MAGIC) {
                None => {
                    let all = here.len();
                    self.skip(all);
                }
                Some(0) => match frame::parse(here) {
                    Parsed::Whole(_) => return Ok(true),
                    // Bytes made so that every place looks like a frame would cost a hash each.
                    Parsed::Damaged(_, length) if !generous => self.skip(length),
                    Parsed::Damaged(_, length) => {
                        self.wasted += length as u64;
                        self.skip(1);
                    }
                    _ => self.skip(1),
                },
                Some(n) => self.skip(n),
            }
        }
    }
}
