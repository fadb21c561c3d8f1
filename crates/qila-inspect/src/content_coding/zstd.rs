//! zstd, by the C library, whose window is bounded as RFC 9659 asks.
use super::{CodingError, STEP, Sink, ZSTD_WINDOW_LOG};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// What each frame begins with. Frames to be skipped begin otherwise, and some decoders do not skip them.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// One body of zstd: one frame.
#[derive(Default)]
pub(super) struct Zstd {
    /// Made when the first bytes come: some of them have no body at all.
    inner: Option<DCtx<'static>>,
    begun: usize,
    ended: bool,
}

impl Zstd {
    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn push(&mut self, piece: &[u8], sink: &mut Sink) -> Result<(), CodingError> {
        let invalid = || CodingError::Invalid("zstd");
        for (wanted, byte) in MAGIC.iter().skip(self.begun).zip(piece) {
            if wanted != byte {
                return Err(invalid());
            }
            self.begun += 1;
        }
        if self.inner.is_none() {
            let mut inner = DCtx::try_create().ok_or_else(invalid)?;
            let set = inner.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG));
            set.map_err(|_| invalid())?;
            self.inner = Some(inner);
        }
        let Some(inner) = &mut self.inner else {
            return Err(invalid());
        };
        let mut input = InBuffer::around(piece);
        let mut out = [0; STEP];
        while !self.ended {
            let taken = input.pos();
            let mut output = OutBuffer::around(out.as_mut_slice());
            let hint = inner
                .decompress_stream(&mut output, &mut input)
                .map_err(|_| invalid())?;
            let made = output.pos();
            if made > 0 {
                sink(out.get(..made).unwrap_or_default())?;
            }
            self.ended = hint == 0;
            // Room was left: all that could be decoded is.
            if made < out.len() && (input.pos() == piece.len() || input.pos() == taken) {
                break;
            }
        }
        if input.pos() == piece.len() {
            Ok(())
        } else if self.ended {
            Err(CodingError::Trailing("zstd"))
        } else {
            Err(invalid())
        }
    }
}
