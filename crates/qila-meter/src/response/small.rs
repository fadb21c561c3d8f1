//! A short text collected from pieces.
use crate::MAX_NAME;

/// The last text that was not empty, cut to [`MAX_NAME`] bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Small {
    open: Vec<u8>,
    value: Vec<u8>,
}

impl Small {
    pub(crate) fn add(&mut self, piece: &[u8]) {
        let room = MAX_NAME.saturating_sub(self.open.len());
        self.open.extend(piece.iter().take(room));
    }

    pub(crate) fn end(&mut self) {
        if !self.open.is_empty() {
            std::mem::swap(&mut self.open, &mut self.value);
            self.open.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.open.clear();
        self.value.clear();
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        self.value == text.as_bytes()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.value
    }

    pub(crate) fn text(&self) -> Option<String> {
        (!self.value.is_empty()).then(|| String::from_utf8_lossy(&self.value).into_owned())
    }
}
