//! The framing of the file `log`: a header of 24 bytes, then a record or a signed checkpoint.
use crate::merkle::{Hash, leaf_hash};
use sha2::{Digest, Sha256};

/// Largest record in bytes; a 16-bit length carries it in an entry bundle.
pub const MAX_PAYLOAD: usize = 65_535;
/// Bytes before the payload.
pub const HEADER: usize = 24;
/// First byte of every frame. It occurs in no UTF-8 text, so never inside a payload.
pub const MAGIC: u8 = 0xFE;
const VERSION: [u8; 2] = [1, 0];

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A record: the JSON of one event.
    Record,
    /// A signed checkpoint over all records before it.
    Checkpoint,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Record => b'R',
            Kind::Checkpoint => b'C',
        }
    }

    fn parse(byte: u8) -> Option<Kind> {
        [Kind::Record, Kind::Checkpoint]
            .into_iter()
            .find(|k| k.byte() == byte)
    }
}

/// A frame whose checksum is right.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: Kind,
    /// The record's number; of a checkpoint the number of records before it.
    pub index: u64,
    /// What it carries.
    pub payload: &'a [u8],
    /// The payload's hash as a leaf of the tree.
    pub leaf: Hash,
}

impl Frame<'_> {
    /// Length in the file.
    pub fn length(&self) -> usize {
        HEADER + self.payload.len()
    }
}

/// Appends one frame and returns its payload's leaf hash; the caller has checked the payload's length.
pub fn put(out: &mut Vec<u8>, kind: Kind, index: u64, payload: &[u8]) -> Hash {
    let leaf = leaf_hash(payload);
    let mut head = [0; 16];
    let fields = [MAGIC, kind.byte()].into_iter().chain(VERSION);
    let fields = fields
        .chain((payload.len() as u32).to_le_bytes())
        .chain(index.to_le_bytes());
    head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    out.extend_from_slice(&head);
    out.extend_from_slice(&checksum(&head, &leaf));
    out.extend_from_slice(payload);
    leaf
}

/// Covers the header too, so that a changed number or length is not taken for another record.
fn checksum(head: &[u8; 16], leaf: &Hash) -> [u8; 8] {
    let hash: Hash = Sha256::new()
        .chain_update([2])
        .chain_update(head)
        .chain_update(leaf)
        .finalize()
        .into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    [a, b, c, d, e, f, g, h]
}

/// What the bytes at the start of a buffer are.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole frame that its checksum confirms.
    Whole(Frame<'a>),
    /// A whole frame with a wrong checksum, and the length it claims.
    Damaged(Kind, usize),
    /// A prefix of a frame; so many bytes in all are needed to go on.
    Need(usize),
    /// No frame begins here.
    Nonsense,
}

/// Looks at the first frame of a buffer.
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return match bytes.first() {
            None | Some(&MAGIC) => Parsed::Need(HEADER),
            Some(_) => Parsed::Nonsense,
        };
    };
    let [
        magic,
        kind,
        v,
        w,
        l0,
        l1,
        l2,
        l3,
        i0,
        i1,
        i2,
        i3,
        i4,
        i5,
        i6,
        i7,
        check @ ..,
    ] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let Some(kind) = Kind::parse(kind) else {
        return Parsed::Nonsense;
    };
    if magic != MAGIC || [v, w] != VERSION || length == 0 || length > MAX_PAYLOAD {
        return Parsed::Nonsense;
    }
    let Some(payload) = rest.get(..length) else {
        return Parsed::Need(HEADER + length);
    };
    let leaf = leaf_hash(payload);
    let head = header.first_chunk::<16>();
    if head.is_none_or(|head| checksum(head, &leaf) != check) {
        return Parsed::Damaged(kind, HEADER + length);
    }
    let index = u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]);
    Parsed::Whole(Frame {
        kind,
        index,
        payload,
        leaf,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_any_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        let leaf = put(&mut bytes, Kind::Record, 7, b"hello");
        let frame = Frame {
            kind: Kind::Record,
            index: 7,
            payload: b"hello",
            leaf,
        };
        assert_eq!(parse(&bytes), Parsed::Whole(frame));
        assert_eq!(parse(&bytes[..4]), Parsed::Need(HEADER));
        assert_eq!(parse(&bytes[..27]), Parsed::Need(HEADER + 5));
        assert_eq!(parse(&[0; 64]), Parsed::Nonsense);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&bad), Parsed::Whole(_)), "bit {bit}");
        }
    }
}
