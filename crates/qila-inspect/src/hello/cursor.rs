//! Reading forward through lengths and bytes.

/// What is left to read.
pub(super) struct Cursor<'a>(&'a [u8]);

const SHORT: &str = "a length goes past the end";

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    pub fn u8(&mut self) -> Result<u8, &'static str> {
        self.take(1)?.first().copied().ok_or(SHORT)
    }

    pub fn u16(&mut self) -> Result<u16, &'static str> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    /// Bytes after a length of one byte.
    pub fn vec8(&mut self) -> Result<&'a [u8], &'static str> {
        let len = self.u8()?.into();
        self.take(len)
    }

    /// Bytes after a length of two bytes.
    pub fn vec16(&mut self) -> Result<&'a [u8], &'static str> {
        let len = self.u16()?.into();
        self.take(len)
    }
}
