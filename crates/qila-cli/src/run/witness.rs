//! Between the gateway and the log: what the gateway decides takes effect only once it is written.
use super::evidence::Evidence;
use crate::fail::Fail;
use qila_gateway::{Batch, Gateway, Order, Rewrite};
use qila_types::EventKind;
use rustix::fd::BorrowedFd;
use std::collections::BTreeSet;

/// Hears the gateway of a run, if it has one, and writes down what it says.
pub(crate) struct Witness<'a, 'h> {
    gateway: Option<Gateway>,
    evidence: &'a mut Evidence<'h>,
}

fn gone(why: qila_gateway::Gone) -> Fail {
    Fail::new(format!("{why}; the run was ended with it"))
}

impl<'a, 'h> Witness<'a, 'h> {
    /// Of a gateway that listens already.
    pub(crate) fn new(gateway: Option<Gateway>, evidence: &'a mut Evidence<'h>) -> Witness<'a, 'h> {
        Witness { gateway, evidence }
    }

    /// What to wait on.
    pub(crate) fn link(&self) -> Option<BorrowedFd<'_>> {
        self.gateway.as_ref().map(Gateway::link)
    }

    /// Takes what the gateway has said, writes it down, and lets it go on.
    /// Answers what became of what it was told to do, once it says so.
    pub(crate) fn hear(&mut self) -> Result<Option<Result<(), String>>, Fail> {
        let Some(gateway) = &mut self.gateway else {
            return Ok(None);
        };
        let Batch {
            events,
            confirm,
            changed,
        } = gateway.take().map_err(gone)?;
        self.evidence.record(events)?;
        if let Some(through) = confirm {
            gateway.written(through).map_err(gone)?;
        }
        Ok(changed)
    }

    /// Sends other rules to the gateway, once it is written down that they are.
    pub(crate) fn change(
        &mut self,
        rewrite: Rewrite,
        policy_digest: String,
        by_uid: u32,
    ) -> Result<(), Fail> {
        self.evidence.record(vec![EventKind::PolicyChanged {
            policy_digest,
            by_uid,
        }])?;
        self.order(&Order::Rules(Box::new(rewrite)))
    }

    /// Puts credentials out of force, once it is written down that they are to be; all of them if none is named. That it was
    /// done the gateway says itself.
    pub(crate) fn revoke(&mut self, credentials: BTreeSet<String>, by_uid: u32) -> Result<(), Fail> {
        self.evidence.record(vec![EventKind::RevocationAsked {
            credentials: credentials.iter().cloned().collect(),
            by_uid,
        }])?;
        self.order(&Order::Revoke(credentials))
    }

    fn order(&self, order: &Order) -> Result<(), Fail> {
        match &self.gateway {
            Some(gateway) => gateway.order(order).map_err(gone),
            None => Ok(()),
        }
    }

    /// Ends the gateway and writes down the last that it said: all that it did is in there.
    pub(crate) fn close(self) -> Result<(), Fail> {
        let Some(gateway) = self.gateway else {
            return Ok(());
        };
        let last = gateway
            .stop()
            .map_err(|e| Fail::new(format!("the gateway could not be ended: {e}")))?;
        self.evidence.record(last)
    }
}
