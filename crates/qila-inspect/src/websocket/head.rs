//! The head of a frame.
use super::relay::FrameError;
use super::{MAX_CONTROL, Side};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(code: u8) -> Option<Opcode> {
        Some(match code {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    fn code(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// A whole head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub last: bool,
    pub opcode: Opcode,
    pub length: u64,
    pub key: [u8; 4],
}

/// Reads a head byte by byte: two, a longer length, a key.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    bytes: [u8; 14],
    have: usize,
}

impl HeadReader {
    /// Whether nothing of a frame was read.
    pub fn is_empty(&self) -> bool {
        self.have == 0
    }

    /// Takes a byte; answers a head with its last one. What is wrong is said as soon as it can be known.
    pub fn push(&mut self, byte: u8, from: Side) -> Result<Option<Head>, FrameError> {
        if let Some(slot) = self.bytes.get_mut(self.have) {
            *slot = byte;
        }
        self.have += 1;
        let [first, second, rest @ ..] = &self.bytes;
        if self.have == 1 {
            if first & 0x70 != 0 {
                return Err(FrameError::Reserved);
            }
            let opcode = Opcode::of(first & 15).ok_or(FrameError::Opcode)?;
            if opcode.is_control() && first & 0x80 == 0 {
                return Err(FrameError::Control);
            }
            return Ok(None);
        }
        let short = second & 0x7f;
        let opcode = Opcode::of(first & 15).ok_or(FrameError::Opcode)?;
        if self.have == 2 {
            if (second & 0x80 != 0) != (from == Side::Client) {
                return Err(FrameError::Mask(from));
            }
            if opcode.is_control() && usize::from(short) > MAX_CONTROL {
                return Err(FrameError::Control);
            }
        }
        let more = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.have < 2 + more {
            return Ok(None);
        }
        let (length, rest) = rest.split_at_checked(more).unwrap_or_default();
        let length = match short {
            126 | 127 => length.iter().fold(0, |n, &b| n << 8 | u64::from(b)),
            short => u64::from(short),
        };
        // Not written in the shortest way, or with the highest bit.
        if (short == 126 && length < 126) || (short == 127 && !(1 << 16..1 << 63).contains(&length)) {
            return Err(FrameError::Length);
        }
        let keyed = if from == Side::Client { 4 } else { 0 };
        if self.have < 2 + more + keyed {
            return Ok(None);
        }
        let key = match rest.first_chunk::<4>() {
            Some(key) if keyed == 4 => *key,
            _ => [0; 4],
        };
        let head = Head {
            last: first & 0x80 != 0,
            opcode,
            length,
            key,
        };
        *self = HeadReader::default();
        Ok(Some(head))
    }
}

/// Appends a frame; a key: masked with it.
pub(super) fn write(last: bool, opcode: Opcode, payload: &[u8], key: Option<[u8; 4]>, out: &mut Vec<u8>) {
    out.push(u8::from(last) << 7 | opcode.code());
    let masked = u8::from(key.is_some()) << 7;
    let length = payload.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(masked | short),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend(key.into_iter().flatten());
    let from = out.len();
    out.extend_from_slice(payload);
    if let (Some(key), Some(payload)) = (key, out.get_mut(from..)) {
        mask(payload, key, 0);
    }
}

/// Masks or unmasks a piece that begins at this place of its payload.
pub(super) fn mask(piece: &mut [u8], key: [u8; 4], at: u64) {
    let mut key = key;
    key.rotate_left((at % 4) as usize);
    let word = u32::from_ne_bytes(key);
    let mut words = piece.chunks_exact_mut(4);
    for four in &mut words {
        if let Ok(four) = <&mut [u8; 4]>::try_from(four) {
            *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key) {
        *byte ^= key;
    }
}
