//! Cutting marks out of a stream of output: a mark may come in pieces, and text is passed on as early as it can be.

/// Looks for one mark after another in a stream.
#[derive(Debug)]
pub(crate) struct Splitter {
    mark: Vec<u8>,
    line: usize,
    held: Vec<u8>,
    /// What is held begins with a mark, and so many bytes behind it are known to have no end of the line.
    looked: Option<usize>,
}

/// What was found so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Bytes that are no part of a mark.
    pub text: Vec<u8>,
    /// What stands between a mark and the end of its line, if one was found.
    pub mark: Option<Vec<u8>>,
}

impl Splitter {
    /// `line`: most bytes between a mark and the end of its line; what is longer is text.
    pub(crate) fn new(mark: &str, line: usize) -> Splitter {
        Splitter {
            mark: mark.as_bytes().to_vec(),
            line,
            held: Vec::new(),
            looked: None,
        }
    }

    /// Takes bytes. The first mark ends the piece: ask again with none for what comes after.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Piece {
        self.held.extend_from_slice(bytes);
        let looked = self.looked.take();
        if let Some(at) = looked.map_or_else(|| find(&self.held, &self.mark), |_| Some(0)) {
            let after = at + self.mark.len();
            let rest = self.held.get(after..).unwrap_or(&[]);
            let known = looked.unwrap_or(0);
            let end = rest.iter().skip(known).position(|b| *b == b'\n');
            match end.map(|end| end + known) {
                Some(end) => {
                    let mark = rest.get(..end).unwrap_or(&[]).to_vec();
                    let left = rest.get(end + 1..).unwrap_or(&[]).to_vec();
                    let text = self.held.get(..at).unwrap_or(&[]).to_vec();
                    self.held = left;
                    return Piece {
                        text,
                        mark: Some(mark),
                    };
                }
                None if rest.len() <= self.line => {
                    self.looked = Some(rest.len());
                    let text = self.held.drain(..at).collect();
                    return Piece { text, mark: None };
                }
                None => {}
            }
        }
        // The longest end that could be the beginning of a mark, or of a character, is held back.
        let keep = (1..self.mark.len().min(self.held.len() + 1))
            .rev()
            .find(|n| self.held.ends_with(self.mark.get(..*n).unwrap_or(&[])))
            .unwrap_or(0);
        let keep = keep.max(partial(&self.held));
        let text = self.held.drain(..self.held.len() - keep).collect();
        Piece { text, mark: None }
    }

    /// What is left when nothing comes any more.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.looked = None;
        std::mem::take(&mut self.held)
    }
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|w| w == mark)
}

/// Bytes at the end that begin a character of UTF-8 and do not end it.
fn partial(text: &[u8]) -> usize {
    let tail = text.get(text.len().saturating_sub(3)..).unwrap_or(&[]);
    for (i, byte) in tail.iter().rev().enumerate() {
        let needed = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if i + 1 < needed { i + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_however_it_is_cut() {
        let whole = "hé before\u{1e}MARK 3\nafter".as_bytes();
        for cut in 0..whole.len() {
            let mut splitter = Splitter::new("\u{1e}MARK ", 64);
            let (mut text, mut mark) = (Vec::new(), None);
            for part in [&whole[..cut], &whole[cut..], &[]] {
                let piece = splitter.feed(part);
                text.extend(piece.text);
                mark = mark.or(piece.mark);
            }
            text.extend(splitter.rest());
            assert_eq!(
                (text.as_slice(), mark.as_deref()),
                ("hé beforeafter".as_bytes(), Some(&b"3"[..])),
                "{cut}"
            );
        }
    }

    #[test]
    fn text_does_not_wait_for_a_mark_that_never_comes() {
        let mut splitter = Splitter::new("\u{1e}MARK ", 64);
        assert_eq!(splitter.feed(b"plain").text, b"plain");
        assert_eq!(splitter.feed("é".as_bytes().get(..1).unwrap()).text, b"");
        assert_eq!(
            splitter.feed("é".as_bytes().get(1..).unwrap()).text,
            "é".as_bytes()
        );
    }

    #[test]
    fn a_long_line_is_looked_at_once() {
        let line = vec![b'x'; 32 << 20];
        let mut splitter = Splitter::new("\u{1e}MARK ", line.len());
        let begun = std::time::Instant::now();
        assert_eq!(splitter.feed("before\u{1e}MARK ".as_bytes()).text, b"before");
        for piece in line.chunks(4096) {
            let piece = splitter.feed(piece);
            assert_eq!((piece.text.len(), piece.mark), (0, None));
        }
        let piece = splitter.feed(b"\nafter\x1eMARK 2\n");
        assert_eq!((piece.text.len(), piece.mark), (0, Some(line)));
        let piece = splitter.feed(&[]);
        assert_eq!((piece.text, piece.mark), (b"after".to_vec(), Some(b"2".to_vec())));
        assert!(begun.elapsed().as_secs() < 60, "8192 times 16 MiB take longer");
    }

    #[test]
    fn a_line_that_is_too_long_is_text() {
        let mut splitter = Splitter::new("\u{1e}MARK ", 4);
        let mut text = Vec::new();
        for part in ["\u{1e}MARK 12", "34", "5", "6\n", "\u{1e}MARK 7\n"] {
            let piece = splitter.feed(part.as_bytes());
            text.extend(piece.text);
            if let Some(mark) = piece.mark {
                assert_eq!(mark, b"7");
            }
        }
        assert_eq!(text, "\u{1e}MARK 123456\n".as_bytes());
    }
}
