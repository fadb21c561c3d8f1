//! Finding a placeholder in what an agent sends to a host that has no business with it.
//!
//! The same forms are looked for as in [`mask`](crate::mask), so a placeholder inside a Basic header is found too.
use crate::engine::Engine;
use crate::mask::{self, MaskError};
use std::fmt;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Whether some form of some placeholder is in `haystack`. Placeholders that no [`Finder`] takes (too short, too long,
/// too many) count as found. Builds a finder for the one call: keep a [`Finder`] where there are several.
pub fn find(haystack: &[u8], placeholders: &[&[u8]]) -> bool {
    Finder::new(placeholders).map_or(true, |finder| finder.find(haystack))
}

/// Finds placeholders in all their forms. Cheap to clone.
#[derive(Clone)]
pub struct Finder(Arc<Engine>);

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Finder(..)")
    }
}

impl Finder {
    /// Builds a finder, under the limits of [`mask`](crate::mask).
    pub fn new(placeholders: &[&[u8]]) -> Result<Finder, MaskError> {
        mask::build(placeholders).map(|engine| Finder(Arc::new(engine)))
    }

    /// Whether some form is in the whole text.
    pub fn find(&self, haystack: &[u8]) -> bool {
        self.0.any(haystack)
    }

    /// A new stream, for one body.
    pub fn stream(&self) -> Stream {
        Stream {
            engine: self.0.clone(),
            held: Zeroizing::default(),
            found: false,
        }
    }
}

/// Looks through one body, piece by piece. It holds nothing back: [`push`](Stream::push) before the piece is sent on.
pub struct Stream {
    engine: Arc<Engine>,
    held: Zeroizing<Vec<u8>>,
    found: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream(found: {}, ..)", self.found)
    }
}

impl Stream {
    /// Looks at the next piece; whether a placeholder has ended in it or before.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        if self.found || self.engine.is_empty() {
            return self.found;
        }
        let open = if self.held.is_empty() {
            self.found = self.engine.any(piece);
            self.engine.open(piece)
        } else {
            self.held.extend_from_slice(piece);
            self.found = self.engine.any(&self.held);
            self.engine.open(&self.held)
        };
        let text = if self.held.is_empty() { piece } else { &self.held };
        let rest = text
            .len()
            .checked_sub(open)
            .and_then(|at| text.get(at..))
            .unwrap_or_default();
        let rest = Zeroizing::new(rest.to_vec());
        self.held.zeroize();
        if !self.found {
            self.held = rest;
        }
        self.found
    }

    /// Whether a placeholder was found so far.
    pub fn found(&self) -> bool {
        self.found
    }
}

/// The fuzzer's way in: any cutting finds what the whole finds.
#[doc(hidden)]
pub fn fuzz_placeholder(data: &[u8]) {
    let Some((&[len, cut], data)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (wanted, text) = data.split_at(usize::from(len).min(data.len()));
    let Ok(finder) = Finder::new(&[wanted]) else {
        return;
    };
    let mut stream = finder.stream();
    for piece in text.chunks(usize::from(cut).max(1)) {
        stream.push(piece);
    }
    assert_eq!(stream.found(), finder.find(text));
    assert_eq!(stream.found(), find(text, &[wanted]));
    assert!(finder.find(&[text, wanted].concat()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &[u8] = b"qila_placeholder_7f3a9c";

    #[test]
    fn forms_are_found_whole_and_cut() {
        let finder = Finder::new(&[MARK]).unwrap();
        for (text, is) in [
            ("Bearer qila_placeholder_7f3a9c", true),
            ("Basic dXNlcjpxaWxhX3BsYWNlaG9sZGVyXzdmM2E5Yw==", true),
            (
                "?key=%71%69%6c%61%5f%70%6c%61%63%65%68%6f%6c%64%65%72%5f%37%66%33%61%39%63&x=1",
                true,
            ),
            ("qila_placeholder_7f3a9", false),
            ("qila_qila_placeholder_7f3a9c", true),
            ("", false),
        ] {
            assert_eq!(finder.find(text.as_bytes()), is, "{text}");
            for cut in 1..8 {
                let mut stream = finder.stream();
                for piece in text.as_bytes().chunks(cut) {
                    stream.push(piece);
                }
                assert_eq!(stream.found(), is, "{text} by {cut}");
            }
        }
    }

    #[test]
    fn what_cannot_be_looked_for_counts_as_found() {
        assert!(find(b"anything", &[b"short"]));
        assert!(!find(b"anything", &[]));
        assert!(!find(b"anything", &[MARK]));
    }
}
