//! What the caller's terminal and its user do while a daemon is spoken to.
use crate::fail::Fail;
use crate::run::terminal;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// One thing that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// A signal that is to go to the program: its name without `SIG`, and its number.
    Signal(&'static str, u8),
    /// The terminal has another size.
    Resize { rows: u16, cols: u16 },
}

/// Signals, taken over until this process ends: what it made elsewhere must be taken back first.
pub(crate) struct Signals {
    interrupt: Signal,
    end: Signal,
    hangup: Signal,
    quit: Signal,
    size: Signal,
}

impl Signals {
    /// Takes them over.
    pub(crate) fn take() -> Result<Signals, Fail> {
        let take = |kind| signal(kind).map_err(|e| Fail::new(format!("taking over signals: {e}")));
        Ok(Signals {
            interrupt: take(SignalKind::interrupt())?,
            end: take(SignalKind::terminate())?,
            hangup: take(SignalKind::hangup())?,
            quit: take(SignalKind::quit())?,
            size: take(SignalKind::window_change())?,
        })
    }

    /// The next thing that is done.
    pub(crate) async fn next(&mut self) -> Done {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return Done::Signal("INT", 2),
                _ = self.end.recv() => return Done::Signal("TERM", 15),
                _ = self.hangup.recv() => return Done::Signal("HUP", 1),
                _ = self.quit.recv() => return Done::Signal("QUIT", 3),
                _ = self.size.recv() => if let Some(size) = terminal::size() {
                    return Done::Resize { rows: size.rows, cols: size.cols };
                },
            }
        }
    }

    /// The next signal that ends a program which does not care; its number.
    pub(crate) async fn ending(&mut self) -> u8 {
        loop {
            if let Done::Signal(_, number) = self.next().await {
                return number;
            }
        }
    }
}
