//! Finding many forms at once, by skipping: the last three bytes of a window say how far no form can begin.
//!
//! Three bytes that occur in no form let the search jump almost a whole window, so ordinary text costs a few table
//! look-ups per hundred bytes. Worst case (text made of the forms' own beginnings) is one comparison per byte and form
//! that shares the window's end.
use crate::forms::Form;
use zeroize::Zeroize;

/// Bytes that are looked at together.
const BLOCK: usize = 3;

/// Entries in the table of jumps; 16 KiB stay in the first-level cache.
const SLOTS: usize = 1 << 14;

/// Largest window: a longer one only fills the table.
const WINDOW: usize = 64;

/// How many slots may be filled before the window is made shorter.
const FILL: usize = SLOTS / 4;

/// A set of forms and the table that finds them. Holds secrets: wiped when dropped, and prints nothing.
pub(crate) struct Engine {
    forms: Vec<Form>,
    /// Bytes at the start of every form that the window covers.
    window: usize,
    longest: usize,
    jump: Box<[u8; SLOTS]>,
    /// Slot of the window's last block, and which form; in order of the slot.
    ends: Vec<(usize, usize)>,
    first: [bool; 256],
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The forms wipe themselves.
        self.jump.as_mut_slice().zeroize();
        self.ends.zeroize();
        self.first.zeroize();
    }
}

fn slot(block: &[u8]) -> Option<usize> {
    let [a, b, c] = *block else { return None };
    let word = u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9e37_79b1);
    usize::try_from(word >> (32 - SLOTS.trailing_zeros())).ok()
}

impl Engine {
    /// Builds the table. Forms shorter than a block are left out.
    pub fn new(mut forms: Vec<Form>) -> Engine {
        forms.retain(|f| f.bytes.len() >= BLOCK);
        let shortest = forms.iter().map(|f| f.bytes.len()).min().unwrap_or(BLOCK);
        let window = shortest.min(WINDOW).min((FILL / forms.len().max(1)).max(8));
        let mut engine = Engine {
            window,
            longest: forms.iter().map(Form::reach).max().unwrap_or(0),
            jump: Box::new([u8::try_from(window - BLOCK + 1).unwrap_or(1); SLOTS]),
            ends: Vec::with_capacity(forms.len()),
            first: [false; 256],
            forms,
        };
        for (which, form) in engine.forms.iter().enumerate() {
            let head = form.bytes.get(..window).unwrap_or(&form.bytes);
            if let Some(seen) = head.first().and_then(|&b| engine.first.get_mut(usize::from(b))) {
                *seen = true;
            }
            for (at, block) in head.windows(BLOCK).enumerate() {
                let left = window - BLOCK - at;
                if let Some(slot) = slot(block)
                    && let Some(jump) = engine.jump.get_mut(slot)
                {
                    *jump = (*jump).min(u8::try_from(left).unwrap_or(u8::MAX));
                    if left == 0 {
                        engine.ends.push((slot, which));
                    }
                }
            }
        }
        engine.ends.sort_unstable();
        engine
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Bytes that the longest match covers.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Calls `found` with the start and form of every match, overlapping ones too, by start, until it says to stop.
    pub fn each(&self, text: &[u8], mut found: impl FnMut(usize, &Form) -> bool) {
        if self.is_empty() {
            return;
        }
        let mut at = 0;
        while let Some(block) = text.get(at + self.window - BLOCK..at + self.window) {
            let Some(slot) = slot(block) else { return };
            match self.jump.get(slot) {
                Some(0) => {
                    let rest = text.get(at..).unwrap_or_default();
                    let from = self.ends.partition_point(|&(s, _)| s < slot);
                    let same = self.ends.iter().skip(from).take_while(|&&(s, _)| s == slot);
                    for form in same.filter_map(|&(_, which)| self.forms.get(which)) {
                        if rest.starts_with(&form.bytes) && found(at, form) {
                            return;
                        }
                    }
                    at += 1;
                }
                Some(&jump) => at += usize::from(jump),
                None => return,
            }
        }
    }

    /// Whether any form is in `text`.
    pub fn any(&self, text: &[u8]) -> bool {
        let mut any = false;
        self.each(text, |_, _| {
            any = true;
            true
        });
        any
    }

    /// How many last bytes of `text` may be the beginning of a form that has not ended.
    pub fn open(&self, text: &[u8]) -> usize {
        let tail = text
            .get(text.len().saturating_sub(self.longest.saturating_sub(1))..)
            .unwrap_or_default();
        let begins = |(at, byte): (usize, &u8)| {
            let suffix = tail.get(at..)?;
            let likely = self.first.get(usize::from(*byte)).is_some_and(|&b| b);
            (likely && self.forms.iter().any(|f| f.open(suffix))).then_some(suffix.len())
        };
        tail.iter().enumerate().find_map(begins).unwrap_or(0)
    }
}
