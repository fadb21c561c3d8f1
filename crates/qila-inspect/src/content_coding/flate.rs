//! gzip and zlib. The wrapper of gzip is read here: its fields are bounded, and only one member is taken.
use super::{CodingError, STEP, Sink};
use flate2::{Crc, Decompress, FlushDecompress, Status};

/// Most bytes of a gzip member's extra field, name and comment together.
const MAX_HEADER: usize = 4096;

/// One body of gzip or zlib.
pub(super) struct Flate {
    inner: Decompress,
    at: At,
    gzip: bool,
    /// Flags of the gzip header that are still to be read.
    flags: u8,
    /// Bytes of the part at hand.
    have: usize,
    /// Length of the extra field; bytes of the trailer.
    part: [u8; 10],
    header: usize,
    crc: Crc,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Fixed,
    ExtraLength,
    Extra(usize),
    Name,
    Comment,
    HeaderCrc,
    Data,
    Trailer,
    End,
}

const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const HEADER_CRC: u8 = 2;
const KNOWN: u8 = 31;

impl Flate {
    pub fn gzip() -> Flate {
        Flate::new(true)
    }

    pub fn zlib() -> Flate {
        Flate::new(false)
    }

    fn new(gzip: bool) -> Flate {
        Flate {
            inner: Decompress::new(!gzip),
            at: if gzip { At::Fixed } else { At::Data },
            gzip,
            flags: 0,
            have: 0,
            part: [0; 10],
            header: 0,
            crc: Crc::new(),
        }
    }

    pub fn name(&self) -> &'static str {
        if self.gzip { "gzip" } else { "deflate" }
    }

    pub fn ended(&self) -> bool {
        self.at == At::End
    }

    pub fn push(&mut self, mut piece: &[u8], sink: &mut Sink) -> Result<(), CodingError> {
        while let Some((&byte, rest)) = piece.split_first() {
            match self.at {
                At::End => return Err(CodingError::Trailing(self.name())),
                At::Data => piece = self.data(piece, sink)?,
                _ => {
                    self.wrapper(byte).ok_or(CodingError::Invalid("gzip"))?;
                    piece = rest;
                }
            }
        }
        Ok(())
    }

    /// One byte of gzip's header or trailer; none: it is wrong.
    fn wrapper(&mut self, byte: u8) -> Option<()> {
        if self.at != At::Trailer {
            self.header += 1;
            if self.header > MAX_HEADER {
                return None;
            }
        }
        let last = match self.at {
            At::Fixed => self.keep(byte, 10)?,
            At::ExtraLength | At::HeaderCrc => self.keep(byte, 2)?,
            At::Trailer => self.keep(byte, 8)?,
            At::Extra(length) => {
                self.have += 1;
                self.have >= length
            }
            At::Name | At::Comment => byte == 0,
            At::Data | At::End => return None,
        };
        if !last {
            return Some(());
        }
        self.have = 0;
        let part = self.part;
        match self.at {
            At::Fixed => {
                let [0x1f, 0x8b, 8, flags, ..] = part else {
                    return None;
                };
                if flags & !KNOWN != 0 {
                    return None;
                }
                self.flags = flags;
            }
            At::ExtraLength => {
                let [low, high, ..] = part;
                let length = usize::from(u16::from_le_bytes([low, high]));
                if length > 0 {
                    self.at = At::Extra(length);
                    return Some(());
                }
            }
            At::Trailer => {
                let [a, b, c, d, e, f, g, h, ..] = part;
                let right = u32::from_le_bytes([a, b, c, d]) == self.crc.sum()
                    && u32::from_le_bytes([e, f, g, h]) == self.crc.amount();
                self.at = At::End;
                return right.then_some(());
            }
            _ => {}
        }
        self.next();
        Some(())
    }

    /// Puts a byte of a part away; whether it was the last.
    fn keep(&mut self, byte: u8, length: usize) -> Option<bool> {
        *self.part.get_mut(self.have)? = byte;
        self.have += 1;
        Some(self.have == length)
    }

    /// Goes to the next field that the flags announce.
    fn next(&mut self) {
        let fields = [
            (EXTRA, At::ExtraLength),
            (NAME, At::Name),
            (COMMENT, At::Comment),
            // Not verified: no decoder that is in use does.
            (HEADER_CRC, At::HeaderCrc),
        ];
        let field = fields.into_iter().find(|(flag, _)| self.flags & flag != 0);
        self.at = field.map_or(At::Data, |(_, at)| at);
        self.flags &= !field.map_or(0, |(flag, _)| flag);
    }

    /// Decodes; answers what lies behind the end, or nothing.
    fn data<'a>(&mut self, mut piece: &'a [u8], sink: &mut Sink) -> Result<&'a [u8], CodingError> {
        let invalid = CodingError::Invalid(self.name());
        let mut out = [0; STEP];
        loop {
            let (taken, made) = (self.inner.total_in(), self.inner.total_out());
            let status = self.inner.decompress(piece, &mut out, FlushDecompress::None);
            let Ok(status) = status else { return Err(invalid) };
            let taken = usize::try_from(self.inner.total_in() - taken).unwrap_or(usize::MAX);
            let made = usize::try_from(self.inner.total_out() - made).unwrap_or(usize::MAX);
            piece = piece.get(taken..).unwrap_or_default();
            let bytes = out.get(..made).unwrap_or_default();
            if self.gzip {
                self.crc.update(bytes);
            }
            if !bytes.is_empty() {
                sink(bytes)?;
            }
            match status {
                Status::StreamEnd => {
                    self.at = if self.gzip { At::Trailer } else { At::End };
                    return Ok(piece);
                }
                _ if made == out.len() => {}
                _ if piece.is_empty() => return Ok(piece),
                // Input is left, room is left, and nothing moves.
                _ if taken == 0 && made == 0 => return Err(invalid),
                _ => {}
            }
        }
    }
}
