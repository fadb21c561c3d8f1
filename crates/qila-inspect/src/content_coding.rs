//! Bodies under a content coding (`Content-Encoding`), decoded for the rules that must read them.
//!
//! Bytes go in as they come and what they mean comes out; nothing is kept but the state of the coding. What is refused:
//!
//! - **a bomb**: more decoded bytes than the limit, or than the ratio allows for what came in, in any stage;
//! - **what two decoders read differently**: bytes behind the end of the coded body, a second gzip member or zstd frame
//!   (some decoders stop at the first), `deflate` without its zlib wrapper, a dictionary that was agreed on elsewhere;
//! - **what does not end**: a body that stops before its coding does, or whose checksum is wrong;
//! - more than [`MAX_CODINGS`] codings, and codings that are not known here. `identity` is no coding and is not named.
//!
//! gzip and deflate are read by `flate2`, br by `brotli-decompressor`. zstd is read by the C library, the one part of this
//! crate that is not Rust: the decoder in Rust (`ruzstd` 0.8) bounds neither what one block may become nor its own sums.
mod br;
mod flate;
mod zstd;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// Most codings of one body.
pub const MAX_CODINGS: usize = 2;

/// How many times as long as its input an output may be, once it is longer than [`FREE_OUTPUT`].
pub const MAX_RATIO: u64 = 200;

/// Decoded bytes to which [`MAX_RATIO`] does not apply: short texts of one letter are no bomb.
pub const FREE_OUTPUT: u64 = 64 * 1024;

/// Largest window of br and zstd, as a power of two: br 16 MiB (its format has no more), zstd 8 MiB (RFC 9659).
pub(crate) const ZSTD_WINDOW_LOG: u32 = 23;

/// Bytes that are decoded at a time.
const STEP: usize = 16 * 1024;

/// One content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` or `x-gzip` (RFC 1952).
    Gzip,
    /// `deflate`: the zlib format (RFC 1950).
    Deflate,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// Why a body is not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodingError {
    /// A coding that is not known here.
    #[error("a content coding other than gzip, deflate, br and zstd")]
    Unknown,
    /// More than [`MAX_CODINGS`].
    #[error("more than {MAX_CODINGS} content codings")]
    Many,
    /// Longer than the limit once decoded.
    #[error("a body of more than {0} bytes once decoded")]
    Long(u64),
    /// More than [`MAX_RATIO`] times as long as its input.
    #[error("a body that is more than {MAX_RATIO} times as long once decoded")]
    Ratio,
    /// Not what its coding says.
    #[error("a body that is not valid {0}")]
    Invalid(&'static str),
    /// The end is missing.
    #[error("a {0} body that ends too early")]
    Short(&'static str),
    /// Something follows the end.
    #[error("bytes behind the end of a {0} body")]
    Trailing(&'static str),
}

/// The codings that the fields name, in the order in which they were applied. None: the body is as it is.
pub fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, CodingError> {
    let mut found = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| CodingError::Unknown)?;
        for word in value.split(',') {
            let word = word.trim_matches([' ', '\t']);
            let is = |name: &str| word.eq_ignore_ascii_case(name);
            found.push(match () {
                () if is("gzip") || is("x-gzip") => Coding::Gzip,
                () if is("deflate") => Coding::Deflate,
                () if is("br") => Coding::Brotli,
                () if is("zstd") => Coding::Zstd,
                // Not to be sent (RFC 9110, 8.4.1), and it changes nothing.
                () if is("identity") => continue,
                () => return Err(CodingError::Unknown),
            });
            if found.len() > MAX_CODINGS {
                return Err(CodingError::Many);
            }
        }
    }
    Ok(found)
}

/// Takes decoded bytes.
type Sink<'a> = dyn FnMut(&[u8]) -> Result<(), CodingError> + 'a;

enum Stage {
    Flate(Box<flate::Flate>),
    Brotli(Box<br::Brotli>),
    Zstd(zstd::Zstd),
}

impl Stage {
    fn new(coding: Coding) -> Stage {
        match coding {
            Coding::Gzip => Stage::Flate(Box::new(flate::Flate::gzip())),
            Coding::Deflate => Stage::Flate(Box::new(flate::Flate::zlib())),
            Coding::Brotli => Stage::Brotli(Box::default()),
            Coding::Zstd => Stage::Zstd(zstd::Zstd::default()),
        }
    }

    fn push(&mut self, piece: &[u8], sink: &mut Sink) -> Result<(), CodingError> {
        match self {
            Stage::Flate(stage) => stage.push(piece, sink),
            Stage::Brotli(stage) => stage.push(piece, sink),
            Stage::Zstd(stage) => stage.push(piece, sink),
        }
    }

    fn finish(&self) -> Result<(), CodingError> {
        let (ended, name) = match self {
            Stage::Flate(stage) => (stage.ended(), stage.name()),
            Stage::Brotli(stage) => (stage.ended(), "br"),
            Stage::Zstd(stage) => (stage.ended(), "zstd"),
        };
        if ended {
            Ok(())
        } else {
            Err(CodingError::Short(name))
        }
    }
}

/// What one stage made of how much.
struct Meter {
    limit: u64,
    taken: u64,
    made: u64,
}

impl Meter {
    fn made(&mut self, bytes: usize) -> Result<(), CodingError> {
        self.made = self.made.saturating_add(bytes as u64);
        if self.made > self.limit {
            return Err(CodingError::Long(self.limit));
        }
        if self.made > FREE_OUTPUT.max(self.taken.saturating_mul(MAX_RATIO)) {
            return Err(CodingError::Ratio);
        }
        Ok(())
    }
}

/// Decodes one body. After an error it stays with it. Any cutting gives the same, but for [`CodingError::Ratio`]: that is judged by
/// the pieces as they come, so that many small ones are judged more closely.
pub struct Decoder {
    /// The coding that was applied last comes first.
    stages: Vec<(Stage, Meter)>,
    limit: u64,
    made: u64,
    failed: Option<CodingError>,
}

impl Decoder {
    /// For a body under these codings, in the order in which they were applied; it, and whatever lies between two codings,
    /// has at most `limit` bytes. No codings: the body as it is, under the same limit.
    pub fn new(codings: &[Coding], limit: u64) -> Result<Decoder, CodingError> {
        if codings.len() > MAX_CODINGS {
            return Err(CodingError::Many);
        }
        let meter = || Meter {
            limit,
            taken: 0,
            made: 0,
        };
        let stages = codings.iter().rev().map(|&c| (Stage::new(c), meter()));
        Ok(Decoder {
            stages: stages.collect(),
            limit,
            made: 0,
            failed: None,
        })
    }

    /// Takes the next bytes; appends what they mean to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), CodingError> {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        let (limit, made) = (self.limit, &mut self.made);
        let mut last = |bytes: &[u8]| {
            *made = made.saturating_add(bytes.len() as u64);
            if *made > limit {
                return Err(CodingError::Long(limit));
            }
            out.extend_from_slice(bytes);
            Ok(())
        };
        let done = through(&mut self.stages, piece, &mut last);
        self.failed = done.clone().err();
        done
    }

    /// Ends the body: an error if a coding has not ended.
    pub fn finish(self) -> Result<(), CodingError> {
        match self.failed {
            Some(why) => Err(why),
            None => self.stages.iter().try_for_each(|(stage, _)| stage.finish()),
        }
    }
}

/// Pushes through the first stage, and what it makes through the others.
fn through(stages: &mut [(Stage, Meter)], piece: &[u8], last: &mut Sink) -> Result<(), CodingError> {
    let Some(((stage, meter), others)) = stages.split_first_mut() else {
        return last(piece);
    };
    // By small pieces, so that the ratio is that of the input that was used.
    piece.chunks(STEP).try_for_each(|piece| {
        meter.taken = meter.taken.saturating_add(piece.len() as u64);
        stage.push(piece, &mut |bytes| {
            meter.made(bytes.len())?;
            through(others, bytes, last)
        })
    })
}

/// Decodes a whole body; see [`Decoder`].
pub fn decode(codings: &[Coding], body: &[u8], limit: u64) -> Result<Vec<u8>, CodingError> {
    let mut decoder = Decoder::new(codings, limit)?;
    let mut out = Vec::new();
    decoder.push(body, &mut out)?;
    decoder.finish()?;
    Ok(out)
}

/// The fuzzer's way in: the first byte chooses codings, the rest is the body; any cutting gives the same, within bounds.
#[doc(hidden)]
pub fn fuzz_content_coding(data: &[u8]) {
    const LIMIT: u64 = 1 << 20;
    let Some((&choice, body)) = data.split_first() else {
        return;
    };
    let all = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
    let pick = |n: u8| all.get(usize::from(n % 5)).copied();
    let codings: Vec<Coding> = [pick(choice), pick(choice / 5)].into_iter().flatten().collect();
    let whole = decode(&codings, body, LIMIT);
    let step = usize::from(choice / 25) + 1;
    let (mut decoder, mut out) = match Decoder::new(&codings, LIMIT) {
        Ok(decoder) => (decoder, Vec::new()),
        Err(_) => return,
    };
    let cut = body.chunks(step).try_for_each(|piece| {
        let done = decoder.push(piece, &mut out);
        assert!(out.len() as u64 <= LIMIT);
        done
    });
    match (whole, cut.and_then(|()| decoder.finish())) {
        (Ok(whole), Ok(())) => assert!(whole == out),
        // Bytes behind the end may be seen before or after something else is; the ratio of a piece may be over for a while.
        (Err(_), Err(_)) | (Ok(_), Err(CodingError::Ratio)) => {}
        (whole, cut) => assert_eq!(whole.map(drop), cut),
    }
}
