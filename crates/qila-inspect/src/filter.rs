//! What looks at the payload of messages on its way and may hold some of it back.
use crate::mask;
use crate::placeholder;

/// Says that the message must not go on: the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message that was stopped")]
pub struct Stopped;

/// Looks at payloads, message by message. What goes out is as long as what came in, once the message has ended.
pub trait Filter {
    /// Takes the next piece of a message's payload; appends to `out` what may go on.
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Stopped>;

    /// Ends the message: appends what was held back. The next piece belongs to another message.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Stopped>;

    /// A whole short payload of its own, which may lie between two pieces of a message: changed in place.
    fn short(&mut self, payload: &mut [u8]) -> Result<(), Stopped>;
}

/// Lets everything pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pass;

impl Filter for Pass {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Stopped> {
        out.extend_from_slice(piece);
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), Stopped> {
        Ok(())
    }

    fn short(&mut self, _: &mut [u8]) -> Result<(), Stopped> {
        Ok(())
    }
}

/// Masks secrets in what an upstream sends.
#[derive(Debug)]
pub struct Mask {
    masker: mask::Masker,
    stream: mask::Stream,
    shorts: u64,
}

impl Mask {
    /// For the messages of one connection and direction.
    pub fn new(masker: &mask::Masker) -> Mask {
        Mask {
            stream: masker.stream(),
            masker: masker.clone(),
            shorts: 0,
        }
    }

    /// Goes on with another masker, which knows all that this one knows and more.
    pub fn turn(&mut self, to: &mask::Masker) {
        self.stream.turn(to);
        self.masker = to.clone();
    }

    /// How many matches were masked so far.
    pub fn hits(&self) -> u64 {
        self.stream.hits() + self.shorts
    }
}

impl Filter for Mask {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Stopped> {
        self.stream.push(piece, out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Stopped> {
        self.stream.finish(out);
        Ok(())
    }

    fn short(&mut self, payload: &mut [u8]) -> Result<(), Stopped> {
        self.shorts += self.masker.mask(payload);
        Ok(())
    }
}

/// Stops a connection at a placeholder in what an agent sends.
#[derive(Debug)]
pub struct Refuse {
    finder: placeholder::Finder,
    stream: placeholder::Stream,
}

impl Refuse {
    /// For the messages of one connection and direction.
    pub fn new(finder: &placeholder::Finder) -> Refuse {
        Refuse {
            stream: finder.stream(),
            finder: finder.clone(),
        }
    }
}

impl Filter for Refuse {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Stopped> {
        if self.stream.push(piece) {
            return Err(Stopped);
        }
        out.extend_from_slice(piece);
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), Stopped> {
        self.stream = self.finder.stream();
        Ok(())
    }

    fn short(&mut self, payload: &mut [u8]) -> Result<(), Stopped> {
        if self.finder.find(payload) {
            Err(Stopped)
        } else {
            Ok(())
        }
    }
}
