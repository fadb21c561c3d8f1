//! The caller's terminal: raw while the agent has one of its own, put back whatever happens.
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Size of the caller's terminal, if its input and output both are one.
pub(crate) fn size() -> Option<qila_wire::Size> {
    if !isatty(rustix::stdio::stdin()) || !isatty(rustix::stdio::stdout()) {
        return None;
    }
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    Some(qila_wire::Size {
        rows: size.ws_row,
        cols: size.ws_col,
    })
}

/// Raw mode, until dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes the caller's terminal raw.
    pub(crate) fn enter() -> Option<Raw> {
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &raw).ok()?;
        Some(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.before);
    }
}
