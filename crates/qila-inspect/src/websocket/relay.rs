//! The frames of one direction: read, looked at, written anew.
use super::head::{self, Head, HeadReader, Opcode};
use super::utf8::Utf8;
use super::{MAX_CONTROL, Side};
use crate::filter::{Filter, Stopped};
use zeroize::Zeroizing;

/// Why a connection is broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A reserved bit: an extension that was not agreed on.
    #[error("a WebSocket frame of an extension that was not agreed on")]
    Reserved,
    /// An opcode that there is not.
    #[error("a WebSocket frame of an unknown kind")]
    Opcode,
    /// A control frame in fragments, or over 125 bytes.
    #[error("a WebSocket control frame in fragments or over {MAX_CONTROL} bytes")]
    Control,
    /// Unmasked from the client, or masked from the server.
    #[error("a WebSocket frame whose mask does not fit its sender: {0:?}")]
    Mask(Side),
    /// A length that is not written in the shortest way.
    #[error("a WebSocket frame whose length is not plainly written")]
    Length,
    /// A continuation of nothing, or a new message inside of one.
    #[error("a WebSocket message whose fragments are out of order")]
    Order,
    /// A text that is not UTF-8.
    #[error("a WebSocket text that is not UTF-8")]
    Text,
    /// A close frame with a code that must not be sent, or half of one.
    #[error("a WebSocket close frame with a code that must not be sent")]
    CloseCode,
    /// Bytes behind a close frame.
    #[error("bytes behind a WebSocket close frame")]
    Closed,
    /// The filter stopped it.
    #[error("a WebSocket message that was stopped")]
    Stopped,
    /// The connection ends inside of a frame or message.
    #[error("a WebSocket message that ends too early")]
    Short,
}

impl From<Stopped> for FrameError {
    fn from(_: Stopped) -> FrameError {
        FrameError::Stopped
    }
}

impl FrameError {
    /// The code to close the connection with.
    pub fn close_code(self) -> u16 {
        match self {
            FrameError::Text => 1007,
            FrameError::Stopped => 1008,
            _ => 1002,
        }
    }
}

/// The message at hand.
#[derive(Debug)]
struct Message {
    /// What its next fragment is called.
    opcode: Opcode,
    /// Whether it is a text.
    text: bool,
    utf8: Utf8,
}

/// The frame at hand.
#[derive(Debug)]
struct Frame {
    head: Head,
    at: u64,
}

/// Relays one direction of a connection.
#[derive(Debug)]
pub struct Relay {
    from: Side,
    head: HeadReader,
    frame: Option<Frame>,
    message: Option<Message>,
    control: Vec<u8>,
    /// Payload without its mask; payload that the filter has let go. Both are empty between two calls.
    plain: Zeroizing<Vec<u8>>,
    ready: Vec<u8>,
    messages: u64,
    closed: bool,
    failed: Option<FrameError>,
}

impl Relay {
    /// For what this side sends.
    pub fn new(from: Side) -> Relay {
        Relay {
            from,
            head: HeadReader::default(),
            frame: None,
            message: None,
            control: Vec::new(),
            plain: Zeroizing::default(),
            ready: Vec::new(),
            messages: 0,
            closed: false,
            failed: None,
        }
    }

    /// Takes bytes as they come; appends whole frames for the other side to `out`. `key` gives a fresh, unguessable mask for each
    /// frame of the client. After an error it stays with it; what was appended before may be sent.
    pub fn push(
        &mut self,
        piece: &[u8],
        filter: &mut impl Filter,
        mut key: impl FnMut() -> [u8; 4],
        out: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        if let Some(why) = self.failed {
            return Err(why);
        }
        let mut way = Way {
            filter,
            key: match self.from {
                Side::Client => Some(&mut key),
                Side::Server => None,
            },
            out,
        };
        let done = self.read(piece, &mut way);
        self.failed = done.err();
        // An idle connection keeps no room, and no copy of what passed.
        self.plain = Zeroizing::default();
        self.ready = Vec::new();
        done
    }

    /// Whether a close frame has passed. Nothing more is taken.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// How many messages have ended.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Ends the direction: an error inside of a frame or message.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.failed {
            Some(why) => Err(why),
            None if self.head.is_empty() && self.frame.is_none() && self.message.is_none() => Ok(()),
            None => Err(FrameError::Short),
        }
    }

    fn read<F: Filter>(&mut self, mut rest: &[u8], way: &mut Way<F>) -> Result<(), FrameError> {
        while let Some((&byte, behind)) = rest.split_first() {
            if self.closed {
                return Err(FrameError::Closed);
            }
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    rest = behind;
                    let Some(head) = self.head.push(byte, self.from)? else {
                        continue;
                    };
                    self.begin(&head)?;
                    Frame { head, at: 0 }
                }
            };
            let left = frame.head.length - frame.at;
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
            let (payload, behind) = rest.split_at_checked(here).unwrap_or_default();
            rest = behind;
            // Without the client's mask; a server has none, and there is nothing to copy.
            let mut plain = std::mem::take(&mut self.plain);
            let shown = if self.from == Side::Client {
                plain.clear();
                plain.extend_from_slice(payload);
                head::mask(&mut plain, frame.head.key, frame.at);
                plain.as_slice()
            } else {
                payload
            };
            frame.at += payload.len() as u64;
            let ended = frame.at == frame.head.length;
            if frame.head.opcode.is_control() {
                self.control.extend_from_slice(shown);
                if ended {
                    self.control(frame.head.opcode, way)?;
                }
            } else {
                self.data(shown, ended && frame.head.last, way)?;
            }
            self.plain = plain;
            if !ended {
                self.frame = Some(frame);
            }
        }
        Ok(())
    }

    /// Whether a frame may come now.
    fn begin(&mut self, head: &Head) -> Result<(), FrameError> {
        match (head.opcode, &self.message) {
            (Opcode::Continuation, Some(_)) => {}
            (Opcode::Text | Opcode::Binary, None) => {
                self.message = Some(Message {
                    opcode: head.opcode,
                    text: head.opcode == Opcode::Text,
                    utf8: Utf8::default(),
                });
            }
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => self.control.clear(),
            _ => return Err(FrameError::Order),
        }
        Ok(())
    }

    /// A piece of a message; `last`: its end.
    fn data<F: Filter>(&mut self, shown: &[u8], last: bool, way: &mut Way<F>) -> Result<(), FrameError> {
        let Some(message) = &mut self.message else {
            return Err(FrameError::Order);
        };
        if message.text && !(message.utf8.push(shown) && (!last || message.utf8.finish())) {
            return Err(FrameError::Text);
        }
        self.ready.clear();
        way.filter.push(shown, &mut self.ready)?;
        if last {
            way.filter.finish(&mut self.ready)?;
        }
        if last || !self.ready.is_empty() {
            way.write(last, message.opcode, &self.ready);
            message.opcode = Opcode::Continuation;
        }
        if last {
            self.message = None;
            self.messages += 1;
        }
        Ok(())
    }

    /// A whole control frame.
    fn control<F: Filter>(&mut self, opcode: Opcode, way: &mut Way<F>) -> Result<(), FrameError> {
        let mut shown = self.control.as_mut_slice();
        if opcode == Opcode::Close && !shown.is_empty() {
            let (code, reason) = shown.split_first_chunk_mut::<2>().ok_or(FrameError::CloseCode)?;
            if !may_be_sent(u16::from_be_bytes(*code)) {
                return Err(FrameError::CloseCode);
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(FrameError::Text);
            }
            shown = reason;
        }
        way.filter.short(shown)?;
        self.closed = opcode == Opcode::Close;
        way.write(true, opcode, &self.control);
        Ok(())
    }
}

/// Where frames go, and what they pass on the way.
struct Way<'a, F> {
    filter: &'a mut F,
    key: Option<&'a mut dyn FnMut() -> [u8; 4]>,
    out: &'a mut Vec<u8>,
}

impl<F> Way<'_, F> {
    fn write(&mut self, last: bool, opcode: Opcode, payload: &[u8]) {
        let key = self.key.as_mut().map(|key| key());
        head::write(last, opcode, payload, key, self.out);
    }
}

/// Codes that an end may put into a close frame: those of the standard, those registered since, and everyone's own.
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A close frame of our own, which may be sent between any two frames of a [`Relay`]; a key: to a server. The reason is cut to
/// what fits.
pub fn close(code: u16, reason: &str, key: Option<[u8; 4]>) -> Vec<u8> {
    let room = MAX_CONTROL - 2;
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= room;
    let reason: String = reason.char_indices().take_while(fits).map(|(_, c)| c).collect();
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    let mut out = Vec::new();
    head::write(true, Opcode::Close, &payload, key, &mut out);
    out
}

pub(super) fn fuzz(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let from = if choice & 1 == 0 {
        Side::Client
    } else {
        Side::Server
    };
    let read = |from: Side, bytes: &[u8], step: usize| {
        let (mut relay, mut seen) = (Relay::new(from), Seen::default());
        let (mut out, mut count) = (Vec::new(), 0u8);
        let done = bytes.chunks(step.max(1)).try_for_each(|piece| {
            let key = || {
                count = count.wrapping_add(37);
                [count, 7, count ^ 0x55, 1]
            };
            let done = relay.push(piece, &mut seen, key, &mut out);
            assert!(relay.control.len() <= MAX_CONTROL && relay.plain.capacity() == 0);
            done
        });
        (done, relay.finish(), seen, out)
    };
    let whole = read(from, data, data.len());
    let cut = read(from, data, usize::from(choice >> 1) % 16 + 1);
    assert_eq!((whole.0, whole.1), (cut.0, cut.1));
    assert!(whole.2.messages == cut.2.messages && whole.2.shorts == cut.2.shorts);
    // How much of a bad message was seen before it was found bad depends on the pieces.
    assert!(whole.0.is_err() || whole.2.open == cut.2.open);
    let again = read(from, &whole.3, 5);
    assert_eq!(again.0, Ok(()));
    // What was written says the same, up to a message that was broken off.
    assert!(whole.0.is_err() || again.2.open == whole.2.open);
    assert!(again.2.messages == whole.2.messages && again.2.shorts == whole.2.shorts);
}

/// A filter that lets everything pass and remembers it.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    messages: Vec<Vec<u8>>,
    open: Vec<u8>,
    shorts: Vec<Vec<u8>>,
}

impl Filter for Seen {
    fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), Stopped> {
        self.open.extend_from_slice(piece);
        out.extend_from_slice(piece);
        Ok(())
    }

    fn finish(&mut self, _: &mut Vec<u8>) -> Result<(), Stopped> {
        self.messages.push(std::mem::take(&mut self.open));
        Ok(())
    }

    fn short(&mut self, payload: &mut [u8]) -> Result<(), Stopped> {
        self.shorts.push(payload.to_vec());
        Ok(())
    }
}
