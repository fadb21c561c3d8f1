//! Between the gateway and the log: what the gateway decides takes effect only once it is written.
use crate::fail::Fail;
use qila_gateway::Gateway;
use rustix::fd::BorrowedFd;

/// Hears the gateway of a run, if it has one.
pub(crate) struct Witness {
    gateway: Option<Gateway>,
    /// Accesses that were allowed.
    pub allowed: u64,
    /// Accesses that were denied.
    pub denied: u64,
}

fn gone(why: impl std::fmt::Display) -> Fail {
    Fail::new(format!(
        "the gateway is gone ({why}), and the run was ended with it"
    ))
}

impl Witness {
    pub(crate) fn new(gateway: Option<Gateway>) -> Witness {
        Witness {
            gateway,
            allowed: 0,
            denied: 0,
        }
    }

    /// What to wait on.
    pub(crate) fn link(&self) -> Option<BorrowedFd<'_>> {
        self.gateway.as_ref().map(Gateway::link)
    }

    /// Takes what the gateway has said, writes it down, and lets it go on. False: it had said nothing.
    pub(crate) fn hear(&mut self) -> Result<bool, Fail> {
        let Some(gateway) = &mut self.gateway else {
            return Ok(false);
        };
        let batch = gateway.take().map_err(gone)?;
        if batch.events.is_empty() {
            return Ok(false);
        }
        for event in &batch.events {
            if let qila_types::EventKind::Decision(decision) = event {
                let count = if decision.allowed {
                    &mut self.allowed
                } else {
                    &mut self.denied
                };
                *count = count.saturating_add(1);
            }
        }
        if let Some(through) = batch.confirm {
            gateway.written(through).map_err(gone)?;
        }
        Ok(true)
    }

    /// Takes the last of it, and ends the gateway.
    pub(crate) fn close(&mut self) -> Result<(), Fail> {
        while self.hear()? {}
        match self.gateway.take() {
            Some(gateway) => gateway
                .stop()
                .map_err(|e| Fail::new(format!("the gateway could not be ended: {e}"))),
            None => Ok(()),
        }
    }
}
