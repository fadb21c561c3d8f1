//! The launcher's hand on the evidence log.
use crate::fail::Fail;
use crate::home::Home;
use qila_evidence::Log;
use qila_types::{Event, EventKind, RunId};

/// The log, and the run that events belong to.
pub(crate) struct Journal {
    log: Log,
    run: Option<RunId>,
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|d| u64::try_from(d.as_millis()).ok()).unwrap_or(0)
}

impl Journal {
    /// Opens the log.
    pub(crate) fn open(home: &Home, run: Option<RunId>) -> Result<Journal, Fail> {
        let log = Log::open(&home.evidence()).map_err(|e| {
            Fail::new(format!("the evidence log cannot be opened: {e}"))
                .hint("nothing runs unrecorded: make the state directory writable, or set QILA_HOME")
        })?;
        Ok(Journal { log, run })
    }

    /// Adds an event, which is kept from the next commit on.
    pub(crate) fn push(&mut self, kind: EventKind) -> Result<(), Fail> {
        let event = Event { time_ms: now_ms(), run: self.run.clone(), kind };
        self.log.push(&event).map_err(|e| Fail::new(format!("evidence cannot be recorded: {e}")))
    }

    /// Makes everything that was pushed durable.
    pub(crate) fn commit(&mut self) -> Result<(), Fail> {
        let done = self.log.commit();
        done.map(drop).map_err(|e| {
            Fail::new(format!("evidence cannot be written: {e}")).hint("free some space under the state directory")
        })
    }

    /// Adds an event and makes it durable.
    pub(crate) fn durable(&mut self, kind: EventKind) -> Result<(), Fail> {
        self.push(kind)?;
        self.commit()
    }
}
