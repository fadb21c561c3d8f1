//! zstd, by the C library: as many frames as come, with a bounded window.
use std::io::{Error, Read, Result};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// Most that a frame may look back, as a power of two: 128 MiB, the most that encoders use unless they are told otherwise.
const WINDOW_LOG: u32 = 27;
const STEP: usize = 64 * 1024;

/// What is decompressed of a reader.
pub(crate) struct Zstd<R> {
    from: R,
    inner: DCtx<'static>,
    input: Vec<u8>,
    /// How much of the input was taken.
    taken: usize,
    /// Whether a frame ended here, and none has begun.
    between: bool,
}

fn wrong(why: impl Into<String>) -> Error {
    Error::new(std::io::ErrorKind::InvalidData, why.into())
}

impl<R: Read> Zstd<R> {
    pub(crate) fn new(from: R) -> Result<Zstd<R>> {
        let mut inner = DCtx::try_create().ok_or_else(|| wrong("no memory for zstd"))?;
        let set = inner.set_parameter(DParameter::WindowLogMax(WINDOW_LOG));
        set.map_err(|code| wrong(zstd_safe::get_error_name(code)))?;
        Ok(Zstd {
            from,
            inner,
            input: Vec::new(),
            taken: 0,
            between: true,
        })
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            // What the decoder holds back comes before more is read.
            let mut output = OutBuffer::around(&mut *buffer);
            let mut input = InBuffer::around(self.input.get(self.taken..).unwrap_or(&[]));
            if !(self.between && input.src.is_empty()) {
                let hint = self.inner.decompress_stream(&mut output, &mut input);
                let hint =
                    hint.map_err(|code| wrong(format!("zstd: {}", zstd_safe::get_error_name(code))))?;
                self.taken += input.pos();
                self.between = hint == 0;
                if output.pos() > 0 {
                    return Ok(output.pos());
                }
                if self.taken < self.input.len() {
                    continue;
                }
            }
            self.input.resize(STEP, 0);
            let n = self.from.read(&mut self.input)?;
            self.input.truncate(n);
            self.taken = 0;
            match n {
                0 if self.between => return Ok(0),
                0 => return Err(wrong("zstd: it ends within a frame")),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; zstd_safe::compress_bound(bytes.len())];
        let n = zstd_safe::compress(&mut out[..], bytes, 3).unwrap();
        out.truncate(n);
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        Zstd::new(bytes)?.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn frames_one_after_the_other() {
        let noise: Vec<u8> = (0..500_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let zeros = vec![0u8; 3_000_000];
        assert_eq!(read(b"").unwrap(), b"");
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        let all = [
            frame(&noise),
            frame(b""),
            skipped.to_vec(),
            frame(&zeros),
            skipped.to_vec(),
        ]
        .concat();
        assert!(read(&all).unwrap() == [noise, zeros].concat());
    }

    #[test]
    fn what_is_cut_off_or_no_frame() {
        let whole = frame(b"some bytes, some bytes, some bytes");
        for n in 1..whole.len() {
            assert!(read(&whole[..n]).is_err(), "{n}");
        }
        assert!(read(b"no frame at all").is_err());
        assert!(read(&[whole, b"x".to_vec()].concat()).is_err());
        // A window of 2 GiB, by its descriptor.
        let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        let error = read(&wide).unwrap_err().to_string();
        assert!(
            error.contains("memory") || error.contains("window") || error.contains("requires"),
            "{error}"
        );
    }
}
