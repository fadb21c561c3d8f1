//! How much an image may take: bombs are refused, and what they left is removed.
use std::io::{Error, Read, Result};
use std::time::Duration;

/// Most layers.
pub const MAX_LAYERS: usize = 256;

/// How much one image may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all its files together; twice as many may be read from its layers, headers and what is left out included.
    pub bytes: u64,
    /// Entries of all layers, and directories made for them that no entry names.
    pub entries: u64,
    /// How many times its own size a layer may decompress to.
    pub ratio: u64,
    /// Bytes that a layer may decompress to whatever its size: a small layer of zeros does no harm.
    pub free: u64,
    /// How long one pull may take, unpacking and waiting for others included.
    pub pull: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bytes: 32 << 30,
            entries: 2_000_000,
            ratio: 200,
            free: 64 << 20,
            pull: Duration::from_secs(30 * 60),
        }
    }
}

impl Limits {
    /// Bytes that a layer of this size may decompress to.
    pub(crate) fn layer(&self, size: u64) -> u64 {
        size.saturating_mul(self.ratio).saturating_add(self.free)
    }
}

/// A reader that fails where one that is merely cut off would look like its end.
pub(crate) struct Bounded<'a, R> {
    from: R,
    /// What the layer may still give.
    left: u64,
    /// What the image may still give.
    all: &'a mut u64,
}

impl<'a, R> Bounded<'a, R> {
    pub(crate) fn new(from: R, left: u64, all: &'a mut u64) -> Bounded<'a, R> {
        Bounded { from, left, all }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let n = self.from.read(buffer)?;
        let (Some(left), Some(all)) = (self.left.checked_sub(n as u64), self.all.checked_sub(n as u64))
        else {
            return Err(Error::other(match self.left < n as u64 {
                true => "the layer decompresses to far more than its size",
                false => "the image's layers decompress to too much",
            }));
        };
        (self.left, *self.all) = (left, all);
        Ok(n)
    }
}
