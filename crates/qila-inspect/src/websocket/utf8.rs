//! UTF-8 that arrives in pieces.

/// Follows a text.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// The beginning of a character, and how much of it there is.
    part: [u8; 4],
    have: usize,
}

impl Utf8 {
    /// Takes the next piece; false: no text begins like this.
    pub fn push(&mut self, mut piece: &[u8]) -> bool {
        while self.have > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return true;
            };
            piece = rest;
            let Some(slot) = self.part.get_mut(self.have) else {
                return false;
            };
            *slot = byte;
            self.have += 1;
            match std::str::from_utf8(self.part.get(..self.have).unwrap_or_default()) {
                Ok(_) => self.have = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        let Err(error) = std::str::from_utf8(piece) else {
            return true;
        };
        let rest = piece.get(error.valid_up_to()..).unwrap_or_default();
        match self.part.get_mut(..rest.len()) {
            Some(part) if error.error_len().is_none() => {
                part.copy_from_slice(rest);
                self.have = rest.len();
                true
            }
            _ => false,
        }
    }

    /// Ends the text; false: inside of a character.
    pub fn finish(&mut self) -> bool {
        std::mem::take(&mut self.have) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid(text: &[u8], step: usize) -> bool {
        let mut utf8 = Utf8::default();
        text.chunks(step).all(|piece| utf8.push(piece)) && utf8.finish()
    }

    #[test]
    fn as_the_standard_library_says_by_every_cut() {
        let mut texts: Vec<Vec<u8>> = ["", "plain", "é✓😀", "a😀b✓c"]
            .map(|t| t.as_bytes().to_vec())
            .into();
        for bad in [
            "80", "c0af", "eda080", "f4908080", "f8888080", "e282", "61c3", "f09f98", "ff",
        ] {
            let byte = |at: usize| u8::from_str_radix(&bad[at..at + 2], 16).unwrap();
            texts.push((0..bad.len()).step_by(2).map(byte).collect());
        }
        for text in texts.clone() {
            texts.push([b"x\xc3\xa9", &text[..]].concat());
            texts.push([&text[..], b"y"].concat());
        }
        for text in texts {
            for step in 1..6 {
                assert_eq!(
                    valid(&text, step),
                    std::str::from_utf8(&text).is_ok(),
                    "{text:?} by {step}"
                );
            }
        }
    }
}
