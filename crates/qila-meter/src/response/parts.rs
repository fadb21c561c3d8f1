//! The parts of a response, put together from fragments that may come in any order.
use super::small::Small;
use crate::content::{Content, Keep, MARGIN};

/// Most choices told apart; what comes for later ones counts to the last.
pub(crate) const MAX_CHOICES: u64 = 8;
/// Most parts kept of one response; later ones are left out and counted.
const MAX_PARTS: usize = 256;
/// Bytes of one fragment held until its place is known; after that it goes where it seems to belong.
const MAX_HELD: usize = 64 * 1024;

/// One alternative answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// Why the model stopped, in the provider's word.
    pub finish_reason: Option<String>,
    /// What it said, in order.
    pub parts: Vec<Part>,
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text.
    Text(Content),
    /// Reasoning, or its summary.
    Reasoning(Content),
    /// A call of a tool.
    ToolCall(ToolCall),
}

/// A call of a tool that the model asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// The provider's id of the call.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// Its arguments: JSON as the model wrote it, or for custom tools a text.
    pub arguments: Content,
    /// The provider runs the tool itself.
    pub hosted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Reasoning,
    Tool,
}

/// A fragment of one part.
#[derive(Debug, Default)]
pub(crate) struct Bit {
    kind: Option<Kind>,
    pub(crate) index: Option<u64>,
    pub(crate) id: Small,
    pub(crate) name: Small,
    pub(crate) hosted: bool,
    bytes: Vec<u8>,
    /// Some of it is in its place already.
    placed: bool,
}

/// The piece of the response that is being read: a choice of a chunk, a content block, an output item.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) index: Option<u64>,
    pub(crate) position: u64,
    pub(crate) kind: Small,
    pub(crate) finish: Small,
    /// It tells its parts whole, and anew each time.
    pub(crate) whole: bool,
    bits: Vec<Bit>,
    held: usize,
}

#[derive(Debug)]
struct Place {
    kind: Kind,
    index: u64,
    id: Option<String>,
    name: Option<String>,
    hosted: bool,
    content: Content,
}

#[derive(Debug, Default)]
struct Lane {
    finish: Option<String>,
    places: Vec<Place>,
}

/// All parts so far.
#[derive(Debug)]
pub(crate) struct Parts {
    keep: Keep,
    room: usize,
    lanes: Vec<Lane>,
    pub(crate) element: Element,
    /// Every element is a choice of its own; else each is a part of the one choice.
    many: bool,
    pub(crate) left_out: u64,
}

impl Parts {
    pub(crate) fn new(keep: Keep, many: bool) -> Parts {
        let room = match keep {
            Keep::Text(limit) => limit.saturating_add(MARGIN),
            Keep::Hash | Keep::Nothing => 0,
        };
        Parts {
            keep,
            room,
            lanes: Vec::new(),
            element: Element::default(),
            many,
            left_out: 0,
        }
    }

    /// Begins an element; one that is open is put in its place first.
    pub(crate) fn open(&mut self, position: u64, whole: bool) {
        self.commit();
        self.element = Element {
            position,
            whole,
            ..Element::default()
        };
    }

    /// A new fragment of an unknown part, for what comes in a list of its own.
    pub(crate) fn begin(&mut self, kind: Kind) {
        if self.element.bits.len() < MAX_PARTS {
            self.element.bits.push(Bit {
                kind: Some(kind),
                ..Bit::default()
            });
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// The fragment that was begun last, of whatever kind.
    pub(crate) fn last(&mut self) -> Option<&mut Bit> {
        self.element.bits.last_mut()
    }

    /// The last fragment turns out to be of this kind.
    pub(crate) fn turn(&mut self, kind: Kind) {
        if let Some(bit) = self.element.bits.last_mut() {
            bit.kind = Some(kind);
        }
    }

    /// The fragment of that kind, begun if there is none.
    pub(crate) fn bit(&mut self, kind: Kind) -> Option<&mut Bit> {
        let found = self.element.bits.iter().rposition(|b| b.kind == Some(kind));
        if found.is_none() {
            self.begin(kind);
        }
        let at = found.unwrap_or(self.element.bits.len().saturating_sub(1));
        self.element.bits.get_mut(at).filter(|b| b.kind == Some(kind))
    }

    /// More of the text of the fragment of that kind.
    pub(crate) fn add(&mut self, kind: Kind, piece: &[u8]) {
        if let Some(bit) = self.bit(kind) {
            bit.bytes.extend_from_slice(piece);
            self.held(piece.len());
        }
    }

    /// More of the text of the last fragment.
    pub(crate) fn add_last(&mut self, piece: &[u8]) {
        if let Some(bit) = self.last() {
            bit.bytes.extend_from_slice(piece);
            self.held(piece.len());
        }
    }

    /// Forgets a text of the last fragment that is this and nothing else.
    pub(crate) fn forget(&mut self, text: &[u8]) {
        if let Some(bit) = self.last()
            && bit.bytes == text
        {
            bit.bytes.clear();
        }
    }

    /// All text fragments of the element are reasoning.
    pub(crate) fn as_reasoning(&mut self) {
        for bit in &mut self.element.bits {
            if bit.kind == Some(Kind::Text) {
                bit.kind = Some(Kind::Reasoning);
            }
        }
    }

    fn held(&mut self, more: usize) {
        self.element.held = self.element.held.saturating_add(more);
        if self.element.held > MAX_HELD {
            self.place();
        }
    }

    /// Ends the element.
    pub(crate) fn commit(&mut self) {
        self.place();
        let finish = self.element.finish.text();
        if finish.is_some()
            && let Some(lane) = self.lane()
        {
            lane.finish = finish;
        }
        self.element = Element::default();
    }

    fn lane(&mut self) -> Option<&mut Lane> {
        let number = if self.many {
            self.element.index.unwrap_or(self.element.position)
        } else {
            0
        };
        let number = usize::try_from(number.min(MAX_CHOICES - 1)).unwrap_or(0);
        while self.lanes.len() <= number {
            self.lanes.push(Lane::default());
        }
        self.lanes.get_mut(number)
    }

    /// Puts all fragments in their places, as far as those are known.
    fn place(&mut self) {
        let mut bits = std::mem::take(&mut self.element.bits);
        self.element.held = 0;
        let own = self.element.index.unwrap_or(self.element.position);
        for (nth, bit) in bits.iter_mut().enumerate() {
            let empty = bit.bytes.is_empty() && bit.name.bytes().is_empty() && bit.id.bytes().is_empty();
            let Some(kind) = bit.kind.filter(|_| !empty) else {
                continue;
            };
            let index = match (self.many, kind) {
                (true, Kind::Tool) => bit.index.unwrap_or(nth as u64),
                (true, _) => 0,
                (false, _) => own,
            };
            let anew = self.element.whole && !bit.placed;
            bit.placed = true;
            self.put(kind, index, bit, anew);
            bit.bytes.clear();
        }
        self.element.bits = bits;
    }

    fn put(&mut self, kind: Kind, index: u64, bit: &Bit, anew: bool) {
        let total: usize = self.lanes.iter().map(|l| l.places.len()).sum();
        let (keep, mut room) = (self.keep, self.room);
        let Some(lane) = self.lane() else { return };
        let same = |p: &Place| p.kind == kind && p.index == index;
        let at = match lane.places.iter().rposition(same) {
            Some(at) => at,
            None if total < MAX_PARTS => {
                lane.places.push(Place {
                    kind,
                    index,
                    id: None,
                    name: None,
                    hosted: false,
                    content: Content::new(keep),
                });
                lane.places.len() - 1
            }
            None => {
                self.left_out = self.left_out.saturating_add(1);
                return;
            }
        };
        if let Some(place) = lane.places.get_mut(at) {
            if anew {
                place.content.clear(&mut room);
            }
            place.content.push(&bit.bytes, &mut room);
            place.hosted |= bit.hosted;
            place.id = bit.id.text().or(place.id.take());
            place.name = bit.name.text().or(place.name.take());
        }
        self.room = room;
    }

    /// All choices.
    pub(crate) fn finish(mut self) -> Vec<Choice> {
        self.commit();
        self.lanes
            .into_iter()
            .map(|lane| Choice {
                finish_reason: lane.finish,
                parts: lane.places.into_iter().map(part).collect(),
            })
            .collect()
    }
}

fn part(place: Place) -> Part {
    match place.kind {
        Kind::Text => Part::Text(place.content),
        Kind::Reasoning => Part::Reasoning(place.content),
        Kind::Tool => Part::ToolCall(ToolCall {
            id: place.id,
            name: place.name.unwrap_or_default(),
            arguments: place.content,
            hosted: place.hosted,
        }),
    }
}
