//! br, by `brotli-decompressor`.
use super::{CodingError, STEP, Sink};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

type Alloc = StandardAlloc;

/// One body of br.
pub(super) struct Brotli {
    state: BrotliState<Alloc, Alloc, Alloc>,
    ended: bool,
}

impl Default for Brotli {
    fn default() -> Brotli {
        let alloc = Alloc::default;
        Brotli {
            // Strict: without the large windows, which are no part of the HTTP coding.
            state: BrotliState::new_strict(alloc(), alloc(), alloc()),
            ended: false,
        }
    }
}

impl Brotli {
    pub fn ended(&self) -> bool {
        self.ended
    }

    pub fn push(&mut self, piece: &[u8], sink: &mut Sink) -> Result<(), CodingError> {
        let mut out = [0; STEP];
        let (mut left, mut at, mut total) = (piece.len(), 0, 0);
        while !self.ended {
            let (mut room, mut made) = (out.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                piece,
                &mut room,
                &mut made,
                &mut out,
                &mut total,
                &mut self.state,
            );
            if made > 0 {
                sink(out.get(..made).unwrap_or_default())?;
            }
            match result {
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::NeedsMoreOutput if made > 0 => {}
                _ => return Err(CodingError::Invalid("br")),
            }
        }
        if left > 0 {
            Err(CodingError::Trailing("br"))
        } else {
            Ok(())
        }
    }
}
