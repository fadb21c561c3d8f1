//! Masking credentials in what an upstream sends back.
//!
//! A [`Masker`] knows each secret as plain text, base64 (both alphabets, and embedded at any alignment, as in a Basic
//! header), percent-encoded, JSON-escaped, HTML-escaped and hexadecimal. Each match becomes as many `*`, so lengths stay right.
//!
//! What it cannot see: a body under a content encoding (ask the upstream for `identity`), base64 broken into lines, and a
//! spelling that mixes two of the above. Of a secret embedded in base64, the two or four highest bits of its first byte
//! share a character with the byte before it, and that character stays.
use crate::engine::Engine;
use crate::forms;
use std::fmt;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Shortest secret, in bytes: a shorter one would match ordinary text.
pub const MIN_SECRET: usize = 8;

/// Longest secret, in bytes: as long as the gateway takes them, room for a private key in PEM. At most six times as much is
/// held back.
pub const MAX_SECRET: usize = 16 * 1024;

/// Most secrets of one masker.
pub const MAX_SECRETS: usize = 64;

/// Why a [`Masker`] or a [`Finder`](crate::placeholder::Finder) was not built. Says nothing of the secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// Shorter than [`MIN_SECRET`].
    #[error("secret {0} is shorter than {MIN_SECRET} bytes")]
    Short(usize),
    /// Longer than [`MAX_SECRET`].
    #[error("secret {0} is longer than {MAX_SECRET} bytes")]
    Long(usize),
    /// More than [`MAX_SECRETS`].
    #[error("more than {MAX_SECRETS} secrets")]
    Many,
}

/// Builds the engine over every form of every secret.
pub(crate) fn build(secrets: &[&[u8]]) -> Result<Engine, MaskError> {
    if secrets.len() > MAX_SECRETS {
        return Err(MaskError::Many);
    }
    let mut all = Vec::new();
    for (at, secret) in secrets.iter().enumerate() {
        match secret.len() {
            0..MIN_SECRET => return Err(MaskError::Short(at)),
            MIN_SECRET..=MAX_SECRET => forms::collect(secret, &mut all),
            _ => return Err(MaskError::Long(at)),
        }
    }
    Ok(Engine::new(all))
}

/// Finds secrets in all their forms. Cheap to clone; wiped when the last clone and its streams are dropped.
#[derive(Clone)]
pub struct Masker(Arc<Engine>);

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masker(..)")
    }
}

impl Masker {
    /// Builds a masker. No secrets make one that changes nothing.
    pub fn new(secrets: &[&[u8]]) -> Result<Masker, MaskError> {
        build(secrets).map(|engine| Masker(Arc::new(engine)))
    }

    /// A new stream, for one body.
    pub fn stream(&self) -> Stream {
        Stream {
            engine: self.0.clone(),
            held: Zeroizing::default(),
            carry: 0,
            hits: 0,
        }
    }

    /// Masks a whole text in place (a header's value); returns how many matches there were.
    pub fn mask(&self, text: &mut [u8]) -> u64 {
        let (spans, hits) = spans(&self.0, text, text.len());
        for (from, to) in spans {
            stars(text, from, to);
        }
        hits
    }

    /// Whether some form of some secret is in `text`.
    pub fn finds(&self, text: &[u8]) -> bool {
        self.0.any(text)
    }

    /// Most bytes that a stream holds back.
    pub fn max_held(&self) -> usize {
        self.0.longest().saturating_sub(1)
    }
}

/// Masks one body, piece by piece, with the same outcome however it is cut.
pub struct Stream {
    engine: Arc<Engine>,
    /// Bytes as received that may be the beginning of a match.
    held: Zeroizing<Vec<u8>>,
    /// How many of the held bytes are the end of a match already found.
    carry: usize,
    hits: u64,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({} hits, ..)", self.hits)
    }
}

impl Stream {
    /// Takes the next piece; appends to `out` all that can no longer be part of a match, masked.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.step(piece, out, false);
    }

    /// Ends the body: appends what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.step(&[], out, true);
    }

    /// How many matches were masked so far.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Goes on with another masker, which knows all that this one knows and more: what is held back is searched again by it.
    pub fn turn(&mut self, to: &Masker) {
        if !Arc::ptr_eq(&self.engine, &to.0) {
            self.engine = to.0.clone();
        }
    }

    fn step(&mut self, piece: &[u8], out: &mut Vec<u8>, last: bool) {
        let base = out.len();
        // Room first, so that growing leaves no second copy of what is held.
        out.reserve(self.held.len() + piece.len());
        out.extend_from_slice(&self.held);
        out.extend_from_slice(piece);
        if self.engine.is_empty() {
            return;
        }
        let Some(text) = out.get_mut(base..) else { return };
        let ready = if last {
            text.len()
        } else {
            text.len() - self.engine.open(text)
        };
        let (spans, hits) = spans(&self.engine, text, ready);
        self.hits += hits;
        self.held.zeroize();
        let (done, rest) = text.split_at_mut_checked(ready).unwrap_or_default();
        self.held.extend_from_slice(rest);
        rest.fill(0);
        stars(done, 0, self.carry);
        self.carry = self.carry.saturating_sub(ready);
        for (from, to) in spans {
            stars(done, from, to);
            self.carry = self.carry.max(to.saturating_sub(ready));
        }
        out.truncate(base + ready);
    }
}

/// What is to be masked in `text` for matches that start before `ready`, joined where they touch; and how many.
fn spans(engine: &Engine, text: &[u8], ready: usize) -> (Vec<(usize, usize)>, u64) {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut hits = 0;
    engine.each(text, |from, form| {
        if from >= ready {
            return true;
        }
        hits += 1;
        let end = from + form.bytes.len();
        let more = form.after && text.get(end).is_some_and(|&b| forms::is_base64(b));
        let to = end + usize::from(more);
        match spans.last_mut() {
            Some(span) if from <= span.1 => span.1 = span.1.max(to),
            _ => spans.push((from, to)),
        }
        false
    });
    (spans, hits)
}

fn stars(text: &mut [u8], from: usize, to: usize) {
    let to = to.min(text.len());
    if let Some(part) = text.get_mut(from..to) {
        part.fill(b'*');
    }
}

/// The fuzzer's way in: the first bytes choose secrets and cuts, the rest is the text; any cutting gives the same.
#[doc(hidden)]
pub fn fuzz_mask(data: &[u8]) {
    let Some((&[len, cut, echo], data)) = data.split_first_chunk::<3>() else {
        return;
    };
    let (secret, text) = data.split_at(usize::from(len).min(data.len()));
    let Ok(masker) = Masker::new(&[secret]) else {
        return assert!(secret.len() < MIN_SECRET);
    };
    let at = usize::from(echo).min(text.len());
    let (head, tail) = text.split_at(at);
    let text = [head, secret, tail].concat();
    let mut whole = text.clone();
    let hits = masker.mask(&mut whole);
    assert!(hits > 0 && whole.len() == text.len());
    let mut stream = masker.stream();
    let mut out = Vec::new();
    for piece in text.chunks(usize::from(cut).max(1)) {
        stream.push(piece, &mut out);
        assert!(stream.held.len() <= masker.max_held());
    }
    stream.finish(&mut out);
    assert!(out == whole && stream.hits() == hits);
    // A secret that holds stars may be spelled by the mask itself.
    assert!(secret.contains(&b'*') || !masker.finds(&out));
}
