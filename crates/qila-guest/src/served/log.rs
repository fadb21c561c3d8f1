//! What a program has said and may still be asked for.
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use qila_wire::served::{KEPT, Source};

struct Piece {
    source: Source,
    at: u64,
    bytes: Vec<u8>,
}

/// What a program has said, newest last; what nobody can want any more goes when there is more than [`KEPT`].
#[derive(Default)]
pub(super) struct Log {
    pieces: VecDeque<Piece>,
    kept: usize,
    end: u64,
}

impl Log {
    /// How many bytes there ever were.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Adds a piece. `needed` is the first byte that somebody has not taken yet.
    pub(super) fn push(&mut self, source: Source, bytes: &[u8], needed: u64) {
        let at = self.end;
        self.end += bytes.len() as u64;
        self.kept += bytes.len();
        match self.pieces.back_mut() {
            // Programs that write a character at a time do not take a piece for each.
            Some(last) if last.source == source && last.bytes.len() + bytes.len() <= KEPT / 8 => {
                last.bytes.extend_from_slice(bytes);
            }
            _ => self.pieces.push_back(Piece {
                source,
                at,
                bytes: bytes.to_vec(),
            }),
        }
        while self.kept > KEPT {
            match self.pieces.front() {
                Some(first) if first.at + first.bytes.len() as u64 <= needed => {
                    self.kept -= first.bytes.len();
                    self.pieces.pop_front();
                }
                _ => return,
            }
        }
    }

    /// The next bytes from a place on, from one source: where they begin, which is later than asked for if what was there is
    /// not kept any more.
    pub(super) fn piece(&self, from: u64, most: usize) -> Option<(Source, u64, &[u8])> {
        let found = self.pieces.iter().find(|p| p.at + p.bytes.len() as u64 > from)?;
        let skip = usize::try_from(from.saturating_sub(found.at)).unwrap_or(0);
        let rest = found.bytes.get(skip..)?;
        Some((
            found.source,
            found.at + skip as u64,
            rest.get(..most).unwrap_or(rest),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_is_needed_is_kept_and_the_rest_is_not() {
        let mut log = Log::default();
        let piece = vec![b'x'; KEPT / 4];
        for _ in 0..8 {
            log.push(Source::Out, &piece, 0);
        }
        assert_eq!(log.piece(0, 10).map(|(_, at, b)| (at, b.len())), Some((0, 10)));
        let end = log.end();
        log.push(Source::Err, b"new", end);
        let (_, at, _) = log.piece(0, 10).unwrap();
        assert!(at > 0 && end - at <= KEPT as u64);
        assert_eq!(log.piece(end, 10), Some((Source::Err, end, &b"new"[..])));
        assert_eq!(log.piece(end + 3, 10), None);
    }

    #[test]
    fn small_pieces_of_one_source_become_one() {
        let mut log = Log::default();
        for byte in b"abc" {
            log.push(Source::Out, &[*byte], 0);
        }
        log.push(Source::Err, b"!", 0);
        assert_eq!(log.piece(0, 99), Some((Source::Out, 0, &b"abc"[..])));
        assert_eq!(log.piece(1, 1), Some((Source::Out, 1, &b"b"[..])));
        assert_eq!(log.piece(3, 99), Some((Source::Err, 3, &b"!"[..])));
    }
}
