//! The evidence of all sandboxes of a node, committed together.
use crate::clock::now_ms;
use crate::fault::internal;
use qila_api::{ApiError, SandboxId};
use qila_evidence::{Log, LogError, Writer};
use qila_types::{Event, EventKind, RunId};

/// Writes down what happens.
pub(crate) struct Evidence {
    writer: Writer,
}

impl Evidence {
    pub(crate) fn new(log: Log) -> Result<Evidence, LogError> {
        Writer::start(log).map(|writer| Evidence { writer })
    }

    /// Records what happened to a sandbox. On return it is on the disk; after an error nothing of it may take effect.
    pub(crate) async fn record(&self, of: &SandboxId, kinds: Vec<EventKind>) -> Result<(), ApiError> {
        let run = RunId::parse(of.as_str()).map_err(|e| internal("recording", &e))?;
        let mut tickets = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let event = Event {
                time_ms: now_ms(),
                run: Some(run.clone()),
                kind,
            };
            tickets.push(
                self.writer
                    .durable(&event)
                    .map_err(|e| internal("evidence cannot be written", &e))?,
            );
        }
        for ticket in tickets {
            ticket
                .await
                .map_err(|e| internal("evidence cannot be written", &e))?;
        }
        Ok(())
    }
}
